// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/class/lanecall/lanecallN: version, channels, channels_in_use, regions,
 * regions_in_use, generation, and a folder channelM for each channel. One value per file.
 *
 * Counters go from the moment the driver was bound and stay over opens. A
 * vector shared by several channels counts for each of them.
 */
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

/* ---- A folder per channel ---------------------------------------------------- */

static ssize_t show_u64(char *buf, const atomic64_t *counter)
{
	return sysfs_emit(buf, "%llu\n", (u64)atomic64_read(counter));
}

static ssize_t slot_show_tx_bytes(struct lanecall_slot *slot, char *buf)
{
	return show_u64(buf, &slot->tx_bytes);
}

static ssize_t slot_show_rx_bytes(struct lanecall_slot *slot, char *buf)
{
	return show_u64(buf, &slot->rx_bytes);
}

static ssize_t slot_show_doorbells(struct lanecall_slot *slot, char *buf)
{
	return show_u64(buf, &slot->doorbells);
}

static ssize_t slot_show_interrupts(struct lanecall_slot *slot, char *buf)
{
	return show_u64(buf, &slot->interrupts);
}

static ssize_t slot_show_vector(struct lanecall_slot *slot, char *buf)
{
	return sysfs_emit(buf, "%u\n", slot->vector);
}

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

static ssize_t slot_show_state(struct lanecall_slot *slot, char *buf)
{
	const char *state;

	mutex_lock(&slot->ldev->lock);
	state = slot_state(slot);
	mutex_unlock(&slot->ldev->lock);
	return sysfs_emit(buf, "%s\n", state);
}

static const struct {
	const char *name;
	ssize_t (*show)(struct lanecall_slot *slot, char *buf);
} slot_files[] = {
	{ "tx_bytes", slot_show_tx_bytes },
	{ "rx_bytes", slot_show_rx_bytes },
	{ "doorbells", slot_show_doorbells },
	{ "interrupts", slot_show_interrupts },
	{ "vector", slot_show_vector },
	{ "state", slot_show_state },
};

struct slot_attribute {
	struct device_attribute attr;
	struct lanecall_slot *slot;
	unsigned int file; /* in slot_files */
};

/* Everything that one folder consists of. */
struct slot_folder {
	struct attribute_group group;
	char name[16];
	struct slot_attribute files[ARRAY_SIZE(slot_files)];
	struct attribute *list[ARRAY_SIZE(slot_files) + 1];
};

struct lanecall_sysfs {
	struct slot_folder *folders;
	const struct attribute_group *groups[LANECALL_MAX_CHANNELS + 2];
};

static ssize_t slot_show(struct device *dev, struct device_attribute *attr,
			 char *buf)
{
	struct slot_attribute *file =
		container_of(attr, struct slot_attribute, attr);

	return slot_files[file->file].show(file->slot, buf);
}

static void init_folder(struct slot_folder *folder, struct lanecall_slot *slot)
{
	unsigned int i;

	snprintf(folder->name, sizeof(folder->name), "channel%u", slot->number);
	for (i = 0; i < ARRAY_SIZE(slot_files); i++) {
		struct slot_attribute *file = &folder->files[i];

		sysfs_attr_init(&file->attr.attr);
		file->attr.attr.name = slot_files[i].name;
		file->attr.attr.mode = 0444;
		file->attr.show = slot_show;
		file->slot = slot;
		file->file = i;
		folder->list[i] = &file->attr.attr;
	}
	folder->group.name = folder->name;
	folder->group.attrs = folder->list;
}

/* Hang all of it on ldev->dev, which device_add() then makes visible. */
int lanecall_sysfs_create(struct lanecall_device *ldev)
{
	struct lanecall_sysfs *sysfs = kzalloc(sizeof(*sysfs), GFP_KERNEL);
	unsigned int i;

	if (!sysfs)
		return -ENOMEM;
	ldev->sysfs = sysfs;
	sysfs->folders = kvcalloc(ldev->slot_count, sizeof(*sysfs->folders),
				  GFP_KERNEL);
	if (!sysfs->folders)
		return -ENOMEM;
	sysfs->groups[0] = &lanecall_group;
	for (i = 0; i < ldev->slot_count; i++) {
		init_folder(&sysfs->folders[i], &ldev->slots[i]);
		sysfs->groups[i + 1] = &sysfs->folders[i].group;
	}
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
