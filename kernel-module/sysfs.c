// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/class/lanecall/lanecallN: version, channels, channels_in_use, regions,
 * regions_in_use, generation, a folder channelM for each channel, and a folder
 * total. One value per file; docs/driver.md has the list.
 *
 * All of it is there from bind to unbind, whichever channels are open: a file
 * that is read while its channel closes tells of before or after. A channel's
 * counters are those of its last open, the folder total's those of all channels
 * since the driver was bound. A vector shared by several channels counts for
 * each of them.
 */
#include <linux/pid.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "lanecall.h"

static struct lanecall_device *to_lanecall(struct device *dev)
{
	return container_of(dev, struct lanecall_device, dev);
}

static ssize_t version_show(struct device *dev, struct device_attribute *attr,
			    char *buf)
{
	u32 version = to_lanecall(dev)->geo.version;

	return sysfs_emit(buf, "%u.%u\n", version >> 16, version & 0xffff);
}
static DEVICE_ATTR_RO(version);

static ssize_t channels_show(struct device *dev, struct device_attribute *attr,
			     char *buf)
{
	return sysfs_emit(buf, "%u\n", to_lanecall(dev)->slot_count);
}
static DEVICE_ATTR_RO(channels);

static ssize_t channels_in_use_show(struct device *dev,
				    struct device_attribute *attr, char *buf)
{
	struct lanecall_device *ldev = to_lanecall(dev);
	unsigned int i, used = 0;

	mutex_lock(&ldev->lock);
	for (i = 0; i < ldev->slot_count; i++)
		used += !!ldev->slots[i].channel;
	mutex_unlock(&ldev->lock);
	return sysfs_emit(buf, "%u\n", used);
}
static DEVICE_ATTR_RO(channels_in_use);

static ssize_t regions_show(struct device *dev, struct device_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%u\n", to_lanecall(dev)->geo.regions);
}
static DEVICE_ATTR_RO(regions);

static ssize_t regions_in_use_show(struct device *dev,
				   struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n",
			  atomic_read(&to_lanecall(dev)->regions_in_use));
}
static DEVICE_ATTR_RO(regions_in_use);

static ssize_t generation_show(struct device *dev,
			       struct device_attribute *attr, char *buf)
{
	struct lanecall_device *ldev = to_lanecall(dev);
	u32 generation;

	mutex_lock(&ldev->lock);
	generation = ldev->generation;
	mutex_unlock(&ldev->lock);
	return sysfs_emit(buf, "%u\n", generation);
}
static DEVICE_ATTR_RO(generation);

static struct attribute *lanecall_attributes[] = {
	&dev_attr_version.attr,
	&dev_attr_channels.attr,
	&dev_attr_channels_in_use.attr,
	&dev_attr_regions.attr,
	&dev_attr_regions_in_use.attr,
	&dev_attr_generation.attr,
	NULL
};

static const struct attribute_group lanecall_group = {
	.attrs = lanecall_attributes,
};

/* ---- Files of a channel -------------------------------------------------------- */

static const char *slot_state(struct lanecall_slot *slot)
{
	static const char * const names[] = {
		[LANECALL_CLOSED] = "closed",
		[LANECALL_CONNECTING] = "connecting",
		[LANECALL_READY] = "ready",
		[LANECALL_RUNNING] = "running",
		[LANECALL_DRAINING] = "draining",
		[LANECALL_ENDED] = "ended",
	};

	if (!slot->channel)
		return names[LANECALL_CLOSED];
	switch (slot->closing) {
	case LANECALL_IN_USE:
		return names[lanecall_channel_state(slot->channel)];
	case LANECALL_RETIRED:
		return "retired";
	default:
		return names[LANECALL_DRAINING];
	}
}

static ssize_t show_state(struct lanecall_slot *slot, char *buf)
{
	return sysfs_emit(buf, "%s\n", slot_state(slot));
}

static ssize_t show_vector(struct lanecall_slot *slot, char *buf)
{
	return sysfs_emit(buf, "%u\n", slot->vector);
}

static ssize_t show_plane(struct lanecall_slot *slot, char *buf)
{
	const struct lanecall_channel *ch = slot->channel;

	if (!ch || !READ_ONCE(ch->attach_sent))
		return sysfs_emit(buf, "none\n");
	return sysfs_emit(buf, "%s\n", ch->in_card ? "direct" : "socket");
}

static ssize_t show_mode(struct lanecall_slot *slot, char *buf)
{
	const struct lanecall_channel *ch = slot->channel;

	if (!ch || !READ_ONCE(ch->attach_sent))
		return sysfs_emit(buf, "none\n");
	return sysfs_emit(buf, "%s\n", READ_ONCE(ch->mapped) ? "mapped" : "rw");
}

/* In the reader's own numbers; 0: no process that the reader could see. */
static pid_t opener_of(const struct lanecall_slot *slot)
{
	return slot->channel ? pid_vnr(slot->channel->opener) : 0;
}

static ssize_t show_pid(struct lanecall_slot *slot, char *buf)
{
	return sysfs_emit(buf, "%d\n", opener_of(slot));
}

/* A program names itself as it likes: what is not printable is escaped. */
static ssize_t show_comm(struct lanecall_slot *slot, char *buf)
{
	const struct lanecall_channel *ch = slot->channel;

	if (!opener_of(slot))
		return sysfs_emit(buf, "\n");
	return sysfs_emit(buf, "%*pE\n",
			  (int)strnlen(ch->opener_comm, TASK_COMM_LEN),
			  ch->opener_comm);
}

/* Called with the device's lock held, so that the channel stays. */
static const struct {
	const char *name;
	ssize_t (*show)(struct lanecall_slot *slot, char *buf);
} facts[] = {
	{ "state", show_state },
	{ "plane", show_plane },
	{ "mode", show_mode },
	{ "pid", show_pid },
	{ "comm", show_comm },
	{ "vector", show_vector },
};

static const char * const counter_names[LANECALL_COUNTERS] = {
	[LANECALL_TX_BYTES] = "tx_bytes",
	[LANECALL_RX_BYTES] = "rx_bytes",
	[LANECALL_FLUSHES] = "flushes",
	[LANECALL_DOORBELLS] = "doorbells",
	[LANECALL_INTERRUPTS] = "interrupts",
	[LANECALL_SLEEPS] = "sleeps",
	[LANECALL_FULL_WAITS] = "full_waits",
	[LANECALL_USER_TX_BYTES] = "user_tx_bytes",
	[LANECALL_USER_RX_BYTES] = "user_rx_bytes",
	[LANECALL_USER_FLUSHES] = "user_flushes",
	[LANECALL_USER_DOORBELLS] = "user_doorbells",
	[LANECALL_USER_SPINS] = "user_spins",
	[LANECALL_USER_SLEEPS] = "user_sleeps",
	[LANECALL_USER_FULL_WAITS] = "user_full_waits",
};

/* ---- Folders ---------------------------------------------------------------------- */

#define FILES_MAX (LANECALL_COUNTERS + ARRAY_SIZE(facts))

struct folder_file {
	struct device_attribute attr;
	struct lanecall_slot *slot; /* NULL: of the whole device */
	unsigned int number; /* a counter's, or a fact's */
};

/* Everything that one folder consists of. */
struct folder {
	struct attribute_group group;
	char name[16];
	struct folder_file files[FILES_MAX];
	struct attribute *list[FILES_MAX + 1];
	unsigned int count;
};

struct lanecall_sysfs {
	struct folder *folders; /* the device's, then the channels' */
	const struct attribute_group *groups[LANECALL_MAX_CHANNELS + 3];
};

static struct folder_file *to_file(struct device_attribute *attr)
{
	return container_of(attr, struct folder_file, attr);
}

static ssize_t show_fact(struct device *dev, struct device_attribute *attr,
			 char *buf)
{
	struct lanecall_device *ldev = to_lanecall(dev);
	struct folder_file *file = to_file(attr);
	ssize_t length;

	mutex_lock(&ldev->lock);
	length = facts[file->number].show(file->slot, buf);
	mutex_unlock(&ldev->lock);
	return length;
}

static ssize_t show_counter(struct device *dev, struct device_attribute *attr,
			    char *buf)
{
	struct folder_file *file = to_file(attr);

	return sysfs_emit(buf, "%llu\n",
			  lanecall_counters_read(file->slot, file->number));
}

static ssize_t show_total(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%llu\n",
			  lanecall_counters_total(to_lanecall(dev),
						  to_file(attr)->number));
}

static void add_file(struct folder *folder, struct lanecall_slot *slot,
		     const char *name, unsigned int number,
		     ssize_t (*show)(struct device *dev,
				     struct device_attribute *attr, char *buf))
{
	struct folder_file *file = &folder->files[folder->count];

	sysfs_attr_init(&file->attr.attr);
	file->attr.attr.name = name;
	file->attr.attr.mode = 0444;
	file->attr.show = show;
	file->slot = slot;
	file->number = number;
	folder->list[folder->count++] = &file->attr.attr;
}

static void init_group(struct folder *folder)
{
	folder->group.name = folder->name;
	folder->group.attrs = folder->list;
}

static void init_slot_folder(struct folder *folder, struct lanecall_slot *slot)
{
	unsigned int i;

	snprintf(folder->name, sizeof(folder->name), "channel%u", slot->number);
	for (i = 0; i < ARRAY_SIZE(facts); i++)
		add_file(folder, slot, facts[i].name, i, show_fact);
	for (i = 0; i < LANECALL_COUNTERS; i++)
		add_file(folder, slot, counter_names[i], i, show_counter);
	init_group(folder);
}

static void init_total_folder(struct folder *folder)
{
	unsigned int i;

	strscpy(folder->name, "total", sizeof(folder->name));
	for (i = 0; i < LANECALL_COUNTERS; i++)
		add_file(folder, NULL, counter_names[i], i, show_total);
	init_group(folder);
}

/* Hang all of it on ldev->dev, which device_add() then makes visible. */
int lanecall_sysfs_create(struct lanecall_device *ldev)
{
	struct lanecall_sysfs *sysfs = kzalloc(sizeof(*sysfs), GFP_KERNEL);
	unsigned int i;

	if (!sysfs)
		return -ENOMEM;
	ldev->sysfs = sysfs;
	sysfs->folders = kvcalloc(ldev->slot_count + 1,
				  sizeof(*sysfs->folders), GFP_KERNEL);
	if (!sysfs->folders)
		return -ENOMEM;
	init_total_folder(&sysfs->folders[0]);
	for (i = 0; i < ldev->slot_count; i++)
		init_slot_folder(&sysfs->folders[i + 1], &ldev->slots[i]);
	sysfs->groups[0] = &lanecall_group;
	for (i = 0; i < ldev->slot_count + 1; i++)
		sysfs->groups[i + 1] = &sysfs->folders[i].group;
	ldev->dev.groups = sysfs->groups;
	return 0;
}

void lanecall_sysfs_free(struct lanecall_device *ldev)
{
	if (!ldev->sysfs)
		return;
	kvfree(ldev->sysfs->folders);
	kfree(ldev->sysfs);
}
