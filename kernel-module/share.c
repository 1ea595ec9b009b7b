// SPDX-License-Identifier: GPL-2.0
/*
 * A user's share of what a device has few of: channels, and slots for regions.
 *
 * The device is everybody's who may open its node. So that one user cannot take
 * what others need, whoever may not exceed limits (CAP_SYS_RESOURCE) gets a part
 * of each kind, for all programs together. Rings need no share of their own: a
 * channel's are bounded. Nor does pinned memory: see pinned.c.
 */
#include <linux/cred.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/uidgid.h>

#include "lanecall.h"

static unsigned int channels_share = 50;
module_param(channels_share, uint, 0644);
MODULE_PARM_DESC(channels_share,
		 "How many of a device's channels one user may have (percent)");

static unsigned int regions_share = 25;
module_param(regions_share, uint, 0644);
MODULE_PARM_DESC(regions_share,
		 "How many of a device's regions one user may have (percent)");

/* What one user has of one device; gone when that is nothing. */
struct lanecall_share {
	struct list_head list; /* in lanecall_device.shares; under shares_lock */
	kuid_t user;
	unsigned int used[LANECALL_SHARED]; /* under shares_lock */
};

/* At least one, so that a small device can be used at all. */
static unsigned int limit_of(const struct lanecall_device *ldev,
			     enum lanecall_shared kind)
{
	bool channels = kind == LANECALL_SHARED_CHANNELS;
	unsigned int percent = READ_ONCE(*(channels ? &channels_share :
						      &regions_share));
	u64 all = channels ? ldev->slot_count : ldev->geo.regions;

	return max_t(u64, all * min(percent, 100U) / 100, 1);
}

/* Holds shares_lock. */
static struct lanecall_share *find(struct lanecall_device *ldev, kuid_t user)
{
	struct lanecall_share *share;

	list_for_each_entry(share, &ldev->shares, list)
		if (uid_eq(share->user, user))
			return share;
	return NULL;
}

/* The calling user's, with one more in use: how many that makes. */
static struct lanecall_share *count_one(struct lanecall_device *ldev,
					enum lanecall_shared kind,
					unsigned int *used)
{
	struct lanecall_share *fresh = kzalloc(sizeof(*fresh), GFP_KERNEL);
	struct lanecall_share *share;

	if (!fresh)
		return NULL;
	fresh->user = current_uid();
	spin_lock(&ldev->shares_lock);
	share = find(ldev, fresh->user);
	if (!share) {
		list_add(&fresh->list, &ldev->shares);
		swap(share, fresh);
	}
	*used = ++share->used[kind];
	spin_unlock(&ldev->shares_lock);
	kfree(fresh);
	return share;
}

/**
 * lanecall_share_take() - one more for the calling user
 * @ldev: whose
 * @kind: of what
 *
 * Return: whose share it is, for lanecall_share_give_back(), or -EDQUOT, -ENOMEM.
 */
struct lanecall_share *lanecall_share_take(struct lanecall_device *ldev,
					   enum lanecall_shared kind)
{
	unsigned int used;
	struct lanecall_share *share = count_one(ldev, kind, &used);

	if (!share)
		return ERR_PTR(-ENOMEM);
	if (used <= limit_of(ldev, kind) || capable(CAP_SYS_RESOURCE))
		return share;
	lanecall_share_give_back(ldev, share, kind);
	return ERR_PTR(-EDQUOT);
}

void lanecall_share_give_back(struct lanecall_device *ldev,
			      struct lanecall_share *share,
			      enum lanecall_shared kind)
{
	bool empty = true;
	unsigned int i;

	spin_lock(&ldev->shares_lock);
	share->used[kind]--;
	for (i = 0; i < LANECALL_SHARED; i++)
		empty = empty && !share->used[i];
	if (empty)
		list_del(&share->list);
	spin_unlock(&ldev->shares_lock);
	if (empty)
		kfree(share);
}
