# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Debian 12's QEMU source: fetched, verified, unpacked; and what we add to it. Source it after
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

# Makes sure that a revision is in the cache (with an argument: looks for a newer
# one) and leaves its name in $revision. Two at a time do not fetch twice.
ensure_source() {
	local lock
	mkdir -p "$source_dir"
	exec {lock}>"$source_dir/lock"
	flock "$lock"
	rm -rf "$source_dir"/.fetch.* # of runs that were killed
	revision=$(cached_revision)
	if [ -n "${1-}" ] || [ -z "$revision" ]; then
		fetch_source
	fi
	exec {lock}>&-
}

# ---- What we add to a revision of the source --------------------------------

series_files() { find "$qemu_patches/series" -name '*.patch' | sort; }

# The existing files that the series changes.
touched_files() {
	series_files | xargs --no-run-if-empty sed -n 's,^--- a/,,p' | sort -u
}

# overlay_files: what comes beside them, as "FROM TO" lines: our own files, and
# the ABI headers they include.
overlay_files() {
	local file
	(cd "$qemu_patches/overlay" && find . -type f -printf '%P\n' | sort) |
		while read -r file; do say "$qemu_patches/overlay/$file $file"; done
	for file in card device hostile platform proxy region ring rogue; do
		say "$lanecall_root/abi/lanecall/$file.h include/lanecall/$file.h"
	done
}

# copy_source REVISION DIR FILE...: files of the source as Debian has it.
copy_source() {
	local from=$source_dir/$1/tree to=$2 file
	shift 2
	for file in "$@"; do
		install -D -m 644 "$from/$file" "$to/$file" || return
	done
}

# apply_series REVISION DIR: DIR gets the files that the series changes, changed.
apply_series() {
	local patch files
	mapfile -t files < <(touched_files)
	copy_source "$1" "$2" "${files[@]}" || return
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

# update_tree REVISION TREE: makes TREE the source with series and overlay,
# writing only files that differ, so that only what changed is compiled again.
# TREE/ours lists what is ours, to take it away when it is not any more.
update_tree() {
	local work from to file
	work=$(mktemp -d "$2/ours.XXXXXX") || return
	apply_series "$1" "$work" || {
		rm -rf "$work"
		return 1
	}
	while read -r from to; do
		install -D -m 644 "$from" "$work/$to" || return
	done < <(overlay_files)
	(cd "$work" && find . -type f -printf '%P\n' | sort) >"$2/ours.new"
	if [ -e "$2/ours" ]; then
		for file in $(comm -23 "$2/ours" "$2/ours.new"); do
			rm -f "$2/$file"
			[ ! -e "$source_dir/$1/tree/$file" ] || copy_source "$1" "$2" "$file"
		done
	fi
	while read -r file; do
		cmp -s "$work/$file" "$2/$file" ||
			install -D -m 644 "$work/$file" "$2/$file" || return
	done <"$2/ours.new"
	mv "$2/ours.new" "$2/ours"
	rm -rf "$work"
}
