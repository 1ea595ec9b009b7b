# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Debian 12's QEMU source: fetched, verified, unpacked, patched. Source it after
# scripts/lib.sh.
#
# The ideas behind it:
# - The user's apt configuration is read (for the mirrors), never changed: apt
#   gets source lists and state of its own, in the cache.
# - $source_dir holds one folder per Debian revision: the package's files and
#   `tree`, which is the source with Debian's own fixes and nothing of ours.
#   The network is used only when there is none, or when asked to look again.
# - Functions that run under run_logged return errors, they do not die: what
#   they say goes to the log, which run_logged shows.
# - A folder appears in the cache by rename, so it is whole or not there.

# shellcheck disable=SC2154 # lib.sh sets lanecall_root
qemu_patches=$lanecall_root/qemu-patches
source_dir=$(cache_dir)/qemu-source

version_field() { sed -n "s/^$1 //p" "$qemu_patches/VERSION"; }

# The newest cached revision of the wanted upstream version, or nothing.
cached_revision() {
	local dir newest=
	for dir in "$source_dir/$(version_field upstream)"-*/; do
		[ -d "$dir/tree" ] || continue
		dir=$(basename "$dir")
		if [ -z "$newest" ] || dpkg --compare-versions "$dir" gt "$newest"; then
			newest=$dir
		fi
	done
	[ -z "$newest" ] || say "$newest"
}

# deb-src lines for Debian 12's own archives, as the user's configuration names
# their mirrors. Third-party origins and backports are left alone. An index not
# downloaded yet has no origin or codename, then the release name decides.
debian_source_lines() {
	# shellcheck disable=SC2016 # apt expands these, not the shell
	apt-get indextargets --format \
		'$(SITE) $(RELEASE) $(COMPONENT) o=$(ORIGIN) c=$(CODENAME)' \
		'Created-By: Packages' |
		awk '$3 == "main" && ($4 == "o=Debian" || $4 == "o=" || $4 ~ /^o=\$/) {
			name = $5
			sub(/^c=/, "", name)
			if (name == "" || name ~ /^\$/)
				name = $2
			if (name ~ /^bookworm(-updates|-security)?$/)
				print "deb-src", $1, $2, $3
		}' | sort -u
}

# private_apt STATE ARGUMENT...: apt-get with source lists and state in STATE.
private_apt() {
	local state=$1
	shift
	apt-get -q -o Dir::Etc::sourcelist=/dev/null \
		-o Dir::Etc::sourceparts="$state/parts" \
		-o Dir::State::lists="$state/lists" \
		-o Dir::Cache::srcpkgcache= -o Dir::Cache::pkgcache= \
		-o APT::Get::List-Cleanup=0 "$@"
}

download_source() {
	local state=$1
	mkdir -p "$state/parts" "$state/lists/partial"
	debian_source_lines >"$state/parts/debian.list"
	if ! [ -s "$state/parts/debian.list" ]; then
		warn "apt's configuration names no Debian 12 (bookworm) archive"
		return 1
	fi
	private_apt "$state" update &&
		cd "$2" &&
		private_apt "$state" source --download-only qemu
}

# Leaves the newest revision in the cache and its name in $revision.
fetch_source() {
	local work dsc orig
	mkdir -p "$source_dir"
	work=$(mktemp -d "$source_dir/.fetch.XXXXXX")
	mkdir "$work/files"
	(run_logged "$source_dir/apt.log" download_source "$work/apt" "$work/files") ||
		{
			rm -rf "$work"
			die "could not fetch QEMU's source package; is the Debian mirror reachable?"
		}
	orig=qemu_$(version_field upstream).orig.tar.xz
	dsc=$(cd "$work/files" && ls ./*.dsc)
	revision=${dsc#./qemu_}
	revision=${revision%.dsc}
	if [ ! -e "$work/files/$orig" ]; then
		rm -rf "$work"
		die "Debian now has QEMU $revision, but series/ is made for $(version_field upstream): port it and change qemu-patches/VERSION"
	fi
	if ! echo "$(version_field sha256)  $work/files/$orig" | sha256sum --check --status; then
		rm -rf "$work"
		die "$orig does not have the checksum in qemu-patches/VERSION"
	fi
	if [ ! -d "$source_dir/$revision/tree" ]; then
		run_logged "$source_dir/unpack.log" \
			dpkg-source --no-check -x "$work/files/$dsc" "$work/files/tree"
		mv -T "$work/files" "$source_dir/$revision"
	fi
	rm -rf "$work"
}

series_files() { find "$qemu_patches/series" -name '*.patch' | sort; }

# patched_tree REVISION DIR: a fresh copy of the source with the series applied.
patched_tree() {
	local patch
	cp -a --reflink=auto "$source_dir/$1/tree" "$2" || return
	for patch in $(series_files); do
		patch --directory="$2" --strip=1 --fuzz=0 --no-backup-if-mismatch \
			--forward --input="$patch" || {
			warn "${patch##*/} does not apply to Debian's QEMU $1"
			warn "(last seen to apply to $(version_field upstream)-$(version_field tested));"
			warn "mend it with qemu-patches/refresh, note the revision in qemu-patches/VERSION"
			return 1
		}
	done
}

# overlay_files: what add_overlay copies, as "FROM TO" lines.
overlay_files() {
	local file
	(cd "$qemu_patches/overlay" && find . -type f -printf '%P\n' | sort) |
		while read -r file; do say "$qemu_patches/overlay/$file $file"; done
	for file in "$lanecall_root"/abi/lanecall/*.h; do
		say "$file include/lanecall/${file##*/}"
	done
}

# add_overlay DIR: our own files, and the ABI headers they include. Files that
# are the same stay untouched, so that only what changed is compiled again.
add_overlay() {
	local from to
	while read -r from to; do
		cmp -s "$from" "$1/$to" || install -D -m 644 "$from" "$1/$to"
	done < <(overlay_files)
}
