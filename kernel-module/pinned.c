// SPDX-License-Identifier: GPL-2.0
/*
 * A program's memory, held for a device: pinned for as long as it takes, counted
 * against a limit, and mapped for DMA.
 *
 * It counts against RLIMIT_MEMLOCK for its user, all of whose programs share the
 * limit (a program could escape one of its own by executing another), and shows
 * as VmPin of the program. Neither needs the program's mmap_lock afterwards, so
 * whatever the program is stuck in, its memory can be let go.
 */
#include <linux/backing-dev.h>
#include <linux/cred.h>
#include <linux/dma-mapping.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "lanecall.h"

#define LANECALL_PINNED_PAGES_MAX (INT_MAX / sizeof(struct page *))

/* ---- Accounting ------------------------------------------------------------- */

static int account(struct lanecall_pinned *pinned)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	struct user_struct *user = get_uid(current_user());
	unsigned long locked = atomic_long_add_return(pinned->page_count,
						      &user->locked_vm);

	if (locked > limit && !capable(CAP_IPC_LOCK)) {
		atomic_long_sub(pinned->page_count, &user->locked_vm);
		free_uid(user);
		return -ENOMEM;
	}
	pinned->user = user;
	pinned->mm = current->mm;
	mmgrab(pinned->mm);
	atomic64_add(pinned->page_count, &pinned->mm->pinned_vm);
	return 0;
}

static void unaccount(struct lanecall_pinned *pinned)
{
	atomic64_sub(pinned->page_count, &pinned->mm->pinned_vm);
	mmdrop(pinned->mm);
	atomic_long_sub(pinned->page_count, &pinned->user->locked_vm);
	free_uid(pinned->user);
}

/* ---- Pinning ---------------------------------------------------------------- */

/* Where the kernel would not learn that a device has written to a file. */
static bool is_written_back(const struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_SHARED && vma->vm_file &&
	       mapping_can_writeback(vma->vm_file->f_mapping);
}

/*
 * How to pin this stretch of memory. For writing where that can be, even if the
 * device only reads: what the program has not written yet is a page that it
 * shares (of zeroes, of a file), and would get its own too late.
 */
static int pin_flags(const struct vm_area_struct *vma, bool device_writes,
		     unsigned int *flags)
{
	*flags = FOLL_LONGTERM;
	if (device_writes && is_written_back(vma))
		return -EPERM;
	if (device_writes || (vma->vm_flags & VM_WRITE && !is_written_back(vma)))
		*flags |= FOLL_WRITE;
	return 0;
}

/* The mapping that start is in, as flags to pin with, and where it ends. */
static int look_up(unsigned long start, bool device_writes, unsigned int *flags,
		   unsigned long *end)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	int err = -EFAULT;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	vma = vma_lookup(mm, start);
	if (vma) {
		*end = vma->vm_end;
		err = pin_flags(vma, device_writes, flags);
	}
	mmap_read_unlock(mm);
	return err;
}

/* Locked, so that the file it is of, if any, stays as long as this looks. */
static bool folio_is_written_back(struct folio *folio)
{
	struct address_space *mapping;
	bool is;

	if (folio_test_anon(folio))
		return false;
	folio_lock(folio);
	mapping = folio_mapping(folio);
	is = mapping && mapping_can_writeback(mapping);
	folio_unlock(folio);
	return is;
}

static bool any_is_written_back(struct page **pages, int count)
{
	struct folio *folio, *last = NULL;
	int i;

	for (i = 0; i < count; i++) {
		folio = page_folio(pages[i]);
		if (folio != last && folio_is_written_back(folio))
			return true;
		last = folio;
	}
	return false;
}

/*
 * From start on, at most count pages; as many as one mapping and the kernel let.
 *
 * Another thread may have mapped something else there since the look-up. What
 * must not happen then shows by the pages, once they are pinned; the rest is that
 * program's own loss. (Keeping mmap_lock from one to the other would keep the
 * program's other threads from all page faults of their own for as long as pages
 * are brought in, and userfaultfd from working here.)
 */
static int pin_some(unsigned long start, unsigned long count,
		    bool device_writes, struct page **pages)
{
	unsigned long end;
	unsigned int flags;
	int some = look_up(start, device_writes, &flags, &end);

	if (some)
		return some;
	count = min(count, (end - start) >> PAGE_SHIFT);
	some = pin_user_pages_fast(start, count, flags, pages);
	if (some > 0 && device_writes && any_is_written_back(pages, some)) {
		unpin_user_pages(pages, some);
		return -EPERM;
	}
	return some ?: -EFAULT;
}

static int pin_all(struct lanecall_pinned *pinned, unsigned long start)
{
	bool device_writes = pinned->direction != DMA_TO_DEVICE;
	unsigned long done = 0;
	int some;

	while (done < pinned->page_count) {
		some = pin_some(start + (done << PAGE_SHIFT),
				pinned->page_count - done, device_writes,
				pinned->pages + done);
		if (some < 0) {
			unpin_user_pages(pinned->pages, done);
			return some;
		}
		done += some;
	}
	return 0;
}

static enum dma_data_direction direction_of(u32 access)
{
	if (!(access & LANECALL_REGION_MAY_WRITE))
		return DMA_TO_DEVICE;
	return access & LANECALL_REGION_MAY_READ ? DMA_BIDIRECTIONAL :
						   DMA_FROM_DEVICE;
}

static int pin_accounted(struct lanecall_pinned *pinned, unsigned long start)
{
	int err = account(pinned);

	if (err)
		return err;
	pinned->pages = kvmalloc_array(pinned->page_count,
				       sizeof(*pinned->pages),
				       GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	err = pinned->pages ? pin_all(pinned, start) : -ENOMEM;
	if (err) {
		kvfree(pinned->pages);
		unaccount(pinned);
	}
	return err;
}

/**
 * lanecall_pin() - hold memory of the calling program
 * @pinned: zeroed; after success lanecall_unpin() ends it
 * @address: any
 * @bytes: not 0
 * @access: what the device may do, LANECALL_REGION_MAY_*
 *
 * Return: 0; -EINVAL, -EFAULT for memory that is not there or not the program's
 * to write, -EPERM for a file's, -ENOMEM, also over the limit, -EINTR.
 */
int lanecall_pin(struct lanecall_pinned *pinned, u64 address, u64 bytes,
		 u32 access)
{
	unsigned long start = untagged_addr((unsigned long)address);
	unsigned long head = offset_in_page(start);
	u64 span;

	if (address > ULONG_MAX || check_add_overflow(bytes, (u64)head, &span) ||
	    check_add_overflow(span, (u64)PAGE_SIZE - 1, &span))
		return -EINVAL;
	if (span >> PAGE_SHIFT > LANECALL_PINNED_PAGES_MAX)
		return -ENOMEM;
	pinned->bytes = bytes;
	pinned->head = head;
	pinned->page_count = span >> PAGE_SHIFT;
	pinned->direction = direction_of(access);
	return pin_accounted(pinned, start - head);
}

/* Let it go. The device does not touch it, and it is not mapped. */
void lanecall_unpin(struct lanecall_pinned *pinned)
{
	unpin_user_pages_dirty_lock(pinned->pages, pinned->page_count,
				    pinned->direction != DMA_TO_DEVICE);
	kvfree(pinned->pages);
	unaccount(pinned);
}

/* ---- Mapping ---------------------------------------------------------------- */

/*
 * The same memory may be lent more than once. The DMA API allows that where what
 * is mapped is synchronised by itself, and not by mapping and unmapping.
 */
#define LANECALL_PINNED_ATTRIBUTES DMA_ATTR_SKIP_CPU_SYNC

static bool needs_sync(struct device *dev, struct sg_table *table)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_dma_sg(table, sg, i)
		if (dma_need_sync(dev, sg_dma_address(sg)))
			return true;
	return false;
}

/**
 * lanecall_pinned_map() - make it the device's
 * @dev: the device
 * @pinned: not mapped; then its table has bus addresses
 *
 * Return: 0, or -ENOMEM: also if there is too much of it to be bounced.
 */
int lanecall_pinned_map(struct device *dev, struct lanecall_pinned *pinned)
{
	size_t largest = min_t(size_t, dma_max_mapping_size(dev), UINT_MAX);
	int err;

	err = sg_alloc_table_from_pages_segment(&pinned->table, pinned->pages,
						pinned->page_count,
						pinned->head, pinned->bytes,
						largest, GFP_KERNEL_ACCOUNT);
	if (err)
		return err;
	err = dma_map_sgtable(dev, &pinned->table, pinned->direction,
			      LANECALL_PINNED_ATTRIBUTES);
	if (err) {
		sg_free_table(&pinned->table);
		return -ENOMEM;
	}
	dma_sync_sgtable_for_device(dev, &pinned->table, pinned->direction);
	pinned->needs_sync = needs_sync(dev, &pinned->table);
	return 0;
}

/*
 * Its bytes stay as they are: what the device has left is had by asking for it
 * before, and whoever takes memory back at another's end may have written to it.
 */
void lanecall_pinned_unmap(struct device *dev, struct lanecall_pinned *pinned)
{
	dma_unmap_sgtable(dev, &pinned->table, pinned->direction,
			  LANECALL_PINNED_ATTRIBUTES);
	sg_free_table(&pinned->table);
}

typedef void (*sync_fn)(struct device *dev, dma_addr_t address, size_t bytes,
			enum dma_data_direction direction);

/* Page by page: an IOMMU may have made one stretch of scattered pages. */
static void sync_stretch(struct device *dev, dma_addr_t address, u64 bytes,
			 enum dma_data_direction direction, sync_fn sync)
{
	while (bytes) {
		u64 part = min_t(u64, bytes, PAGE_SIZE - offset_in_page(address));

		sync(dev, address, part, direction);
		address += part;
		bytes -= part;
	}
}

/**
 * lanecall_pinned_sync() - make bytes visible to the other side
 * @dev: the device
 * @pinned: mapped
 * @offset: inside it
 * @bytes: likewise
 * @for_device: the program has written; otherwise it will read
 *
 * Exactly these: what lies next to them may be newer on this side.
 */
void lanecall_pinned_sync(struct device *dev, struct lanecall_pinned *pinned,
			  u64 offset, u64 bytes, bool for_device)
{
	sync_fn sync = for_device ? dma_sync_single_for_device :
				    dma_sync_single_for_cpu;
	struct scatterlist *sg;
	unsigned int i;

	if (!pinned->needs_sync)
		return;
	for_each_sgtable_dma_sg(&pinned->table, sg, i) {
		dma_addr_t address = sg_dma_address(sg);
		u64 length = sg_dma_len(sg);
		u64 part;

		if (offset >= length) {
			offset -= length;
			continue;
		}
		part = min(bytes, length - offset);
		if (dma_need_sync(dev, address))
			sync_stretch(dev, address + offset, part,
				     pinned->direction, sync);
		bytes -= part;
		offset = 0;
		if (!bytes)
			break;
	}
}
