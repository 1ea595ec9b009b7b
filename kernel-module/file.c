// SPDX-License-Identifier: GPL-2.0
/* The file operations: what abi/lanecall/driver.h promises, mapped to channels. */
#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/uaccess.h>

#include "lanecall.h"

static int lanecall_open(struct inode *inode, struct file *file)
{
	struct lanecall_device *ldev =
		container_of(inode->i_cdev, struct lanecall_device, cdev);
	struct lanecall_channel *ch;
	int err = 0;

	ch = lanecall_slot_take(ldev);
	if (IS_ERR(ch))
		return PTR_ERR(ch);
	if (!(file->f_flags & O_NONBLOCK))
		err = lanecall_channel_wait_open(ch);
	if (err) {
		lanecall_slot_release(ch);
		return err;
	}
	file->private_data = ch;
	lanecall_mapping_init(ch, file);
	file->f_mode |= FMODE_NOWAIT;
	return stream_open(inode, file);
}

static int lanecall_release(struct inode *inode, struct file *file)
{
	struct lanecall_channel *ch = file->private_data;

	lanecall_regions_take_back(ch);
	lanecall_slot_release(ch);
	return 0;
}

static bool is_nonblocking(const struct kiocb *iocb)
{
	return iocb->ki_filp->f_flags & O_NONBLOCK ||
	       iocb->ki_flags & IOCB_NOWAIT;
}

static ssize_t lanecall_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	return lanecall_stream_read(iocb->ki_filp->private_data, to,
				    is_nonblocking(iocb));
}

static ssize_t lanecall_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	return lanecall_stream_write(iocb->ki_filp->private_data, from,
				     is_nonblocking(iocb));
}

static __poll_t lanecall_poll(struct file *file, poll_table *wait)
{
	struct lanecall_channel *ch = file->private_data;

	poll_wait(file, &ch->slot->wait, wait);
	return lanecall_stream_poll(ch, poll_requested_events(wait));
}

static int lanecall_mmap(struct file *file, struct vm_area_struct *vma)
{
	return lanecall_mapping_mmap(file->private_data, vma);
}

static int lanecall_fsync(struct file *file, loff_t start, loff_t end,
			  int datasync)
{
	return lanecall_stream_flush(file->private_data);
}

static int ioctl_info(struct lanecall_channel *ch, void __user *arg)
{
	struct lanecall_device *ldev = ch->ldev;
	struct lanecall_info info = {
		.abi_version = LANECALL_VERSION,
		.channel = ch->slot->number,
		.channels = ldev->slot_count,
		.ring_bytes_min = 1U << ldev->geo.ring_shift_min,
		.ring_bytes_max = 1U << ldev->geo.ring_shift_max,
		.generation = ch->generation,
		.features = ch->features,
	};

	if (READ_ONCE(ch->detached))
		return -EIO;
	mutex_lock(&ch->setup);
	info.tx_bytes = ch->tx_bytes;
	info.rx_bytes = ch->rx_bytes;
	mutex_unlock(&ch->setup);
	strscpy(info.device, ldev->pci_name, sizeof(info.device));
	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static int ioctl_set_rings(struct lanecall_channel *ch, void __user *arg)
{
	struct lanecall_ring_sizes sizes;

	if (copy_from_user(&sizes, arg, sizeof(sizes)))
		return -EFAULT;
	return lanecall_channel_set_sizes(ch, sizes.tx_bytes, sizes.rx_bytes);
}

static int ioctl_status(struct lanecall_channel *ch, void __user *arg)
{
	struct lanecall_channel_status status = {};
	u32 word;

	if (READ_ONCE(ch->detached))
		return -EIO;
	lanecall_channel_status(ch, &word);
	status.state = LANECALL_STATE(word);
	status.error = -lanecall_status_errno(word);
	return copy_to_user(arg, &status, sizeof(status)) ? -EFAULT : 0;
}

static int ioctl_map(struct lanecall_channel *ch, bool nonblock,
		     void __user *arg)
{
	struct lanecall_mapping mapping;
	int err = lanecall_mapping_choose(ch, nonblock, &mapping);

	if (err)
		return err;
	return copy_to_user(arg, &mapping, sizeof(mapping)) ? -EFAULT : 0;
}

static int ioctl_set_moderation(struct lanecall_channel *ch, void __user *arg)
{
	struct lanecall_moderation wanted;

	if (copy_from_user(&wanted, arg, sizeof(wanted)))
		return -EFAULT;
	return lanecall_channel_set_moderation(ch, &wanted);
}

static int ioctl_region_register(struct lanecall_channel *ch, void __user *arg)
{
	struct lanecall_region_registration wanted;
	int err;

	if (copy_from_user(&wanted, arg, sizeof(wanted)))
		return -EFAULT;
	err = lanecall_region_register(ch, &wanted);
	if (err)
		return err;
	if (!copy_to_user(arg, &wanted, sizeof(wanted)))
		return 0;
	lanecall_region_unregister(ch, wanted.region);
	return -EFAULT;
}

static int ioctl_region_unregister(struct lanecall_channel *ch,
				   void __user *arg)
{
	u32 region;

	if (copy_from_user(&region, arg, sizeof(region)))
		return -EFAULT;
	return lanecall_region_unregister(ch, region);
}

static int ioctl_region_sync(struct lanecall_channel *ch, void __user *arg)
{
	struct lanecall_region_sync wanted;

	if (copy_from_user(&wanted, arg, sizeof(wanted)))
		return -EFAULT;
	return lanecall_region_sync(ch, &wanted);
}

static long lanecall_ioctl(struct file *file, unsigned int command,
			   unsigned long arg)
{
	struct lanecall_channel *ch = file->private_data;
	void __user *user = (void __user *)arg;

	switch (command) {
	case LANECALL_IOC_INFO:
		return ioctl_info(ch, user);
	case LANECALL_IOC_SET_RINGS:
		return ioctl_set_rings(ch, user);
	case LANECALL_IOC_STATUS:
		return ioctl_status(ch, user);
	case LANECALL_IOC_MAP:
		return ioctl_map(ch, file->f_flags & O_NONBLOCK, user);
	case LANECALL_IOC_SET_MODERATION:
		return ioctl_set_moderation(ch, user);
	case LANECALL_IOC_REGION_REGISTER:
		return ioctl_region_register(ch, user);
	case LANECALL_IOC_REGION_UNREGISTER:
		return ioctl_region_unregister(ch, user);
	case LANECALL_IOC_REGION_SYNC:
		return ioctl_region_sync(ch, user);
	default:
		return -ENOTTY;
	}
}

const struct file_operations lanecall_fops = {
	.owner = THIS_MODULE,
	.open = lanecall_open,
	.release = lanecall_release,
	.read_iter = lanecall_read_iter,
	.write_iter = lanecall_write_iter,
	.poll = lanecall_poll,
	.mmap = lanecall_mmap,
	.fsync = lanecall_fsync,
	.unlocked_ioctl = lanecall_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};
