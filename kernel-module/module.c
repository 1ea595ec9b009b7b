// SPDX-License-Identifier: GPL-2.0
/* Load and unload: the class, the minor numbers, the PCI driver. */
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/version.h>

#include "lanecall.h"

#define LANECALL_MINORS 256

static dev_t lanecall_first;
static DEFINE_IDA(lanecall_minors);

/* Group access, so that a udev rule need only name the group. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
static char *lanecall_devnode(const struct device *dev, umode_t *mode)
#else
static char *lanecall_devnode(struct device *dev, umode_t *mode)
#endif
{
	if (mode)
		*mode = 0660;
	return NULL;
}

struct class lanecall_class = {
	.name = LANECALL_NAME,
	.devnode = lanecall_devnode,
};

/* Gives ldev->dev a number and a name; lanecall_minor_put() takes it back. */
int lanecall_minor_get(struct lanecall_device *ldev)
{
	int minor = ida_alloc_max(&lanecall_minors, LANECALL_MINORS - 1,
				  GFP_KERNEL);
	int err;

	if (minor < 0)
		return minor;
	err = dev_set_name(&ldev->dev, LANECALL_NAME "%d", minor);
	if (err) {
		ida_free(&lanecall_minors, minor);
		return err;
	}
	ldev->minor = minor;
	ldev->dev.devt = MKDEV(MAJOR(lanecall_first), minor);
	return 0;
}

void lanecall_minor_put(struct lanecall_device *ldev)
{
	if (ldev->dev.devt)
		ida_free(&lanecall_minors, MINOR(ldev->dev.devt));
	ldev->dev.devt = 0;
}

static int __init lanecall_init(void)
{
	int err;

	err = class_register(&lanecall_class);
	if (err)
		return err;
	err = alloc_chrdev_region(&lanecall_first, 0, LANECALL_MINORS,
				  LANECALL_NAME);
	if (err)
		goto no_region;
	err = pci_register_driver(&lanecall_pci_driver);
	if (err)
		goto no_driver;
	return 0;

no_driver:
	unregister_chrdev_region(lanecall_first, LANECALL_MINORS);
no_region:
	class_unregister(&lanecall_class);
	return err;
}
module_init(lanecall_init);

static void __exit lanecall_exit(void)
{
	pci_unregister_driver(&lanecall_pci_driver);
	unregister_chrdev_region(lanecall_first, LANECALL_MINORS);
	class_unregister(&lanecall_class);
	ida_destroy(&lanecall_minors);
}
module_exit(lanecall_exit);

MODULE_DESCRIPTION("Byte streams to a server through the edu PCI device");
MODULE_AUTHOR("The Lanecall authors");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
