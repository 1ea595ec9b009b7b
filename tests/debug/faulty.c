// SPDX-License-Identifier: GPL-2.0
/*
 * Makes the mistakes that the debug kernel is there to report, each when it is
 * loaded with fault=NAME. Loading fails afterwards, so that it can be loaded
 * again for the next.
 */
#include <linux/dma-mapping.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

static char *fault = "";
module_param(fault, charp, 0);

static int nothing(void)
{
	return 0;
}

static int read_after_free(void)
{
	char *memory = kmalloc(64, GFP_KERNEL);

	if (!memory)
		return -ENOMEM;
	kfree(memory);
	READ_ONCE(memory[1]);
	return 0;
}

static int write_behind_end(void)
{
	char *memory = kmalloc(64, GFP_KERNEL);
	int size = 64;

	if (!memory)
		return -ENOMEM;
	OPTIMIZER_HIDE_VAR(size);
	WRITE_ONCE(memory[size], 1);
	kfree(memory);
	return 0;
}

/* Many, because a stale copy of a pointer hides what it points to. */
static int leak(void)
{
	int i;

	for (i = 0; i < 64; i++) {
		char *memory = kmalloc(64, GFP_KERNEL);

		if (!memory)
			return -ENOMEM;
		OPTIMIZER_HIDE_VAR(memory);
	}
	return 0;
}

static int shift_too_far(void)
{
	int bits = 40;
	int one = 1;

	OPTIMIZER_HIDE_VAR(bits);
	pr_info("faulty: %d\n", one << bits);
	return 0;
}

static int delete_twice(void)
{
	LIST_HEAD(list);
	LIST_HEAD(entry);

	list_add(&entry, &list);
	list_del(&entry);
	list_del(&entry);
	return 0;
}

static int lock_in_both_orders(void)
{
	static DEFINE_MUTEX(first);
	static DEFINE_MUTEX(second);

	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);
	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
	return 0;
}

static int sleep_under_spinlock(void)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	might_sleep();
	spin_unlock(&lock);
	return 0;
}

static int read_without_rcu(void)
{
	static int __rcu *shared;

	return rcu_dereference(shared) ? -EINVAL : 0;
}

static int unmap_what_is_not_mapped(void)
{
	struct platform_device *device;

	device = platform_device_register_simple("faulty", 0, NULL, 0);
	if (IS_ERR(device))
		return PTR_ERR(device);
	dma_coerce_mask_and_coherent(&device->dev, DMA_BIT_MASK(64));
	dma_unmap_single(&device->dev, 0x100000, 64, DMA_TO_DEVICE);
	platform_device_unregister(device);
	return 0;
}

static const struct {
	const char *name;
	int (*make)(void);
} faults[] = {
	{ "nothing", nothing },
	{ "read_after_free", read_after_free },
	{ "write_behind_end", write_behind_end },
	{ "leak", leak },
	{ "shift_too_far", shift_too_far },
	{ "delete_twice", delete_twice },
	{ "lock_in_both_orders", lock_in_both_orders },
	{ "sleep_under_spinlock", sleep_under_spinlock },
	{ "read_without_rcu", read_without_rcu },
	{ "unmap_what_is_not_mapped", unmap_what_is_not_mapped },
};

static int __init faulty_init(void)
{
	int i, err;

	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		if (strcmp(faults[i].name, fault))
			continue;
		err = faults[i].make();
		return err ? err : -ECANCELED;
	}
	return -EINVAL;
}
module_init(faulty_init);

MODULE_DESCRIPTION("Mistakes for a debug kernel to report");
MODULE_LICENSE("GPL");
