// SPDX-License-Identifier: GPL-2.0
/*
 * Rings in a program's hands: LANECALL_IOC_MAP and mmap.
 *
 * The ideas behind it:
 * - Pages of host memory (status, rings) are inserted when they are mapped. The
 *   program's page table counts them, so they live until the last unmap, however
 *   long the device has been gone by then.
 * - Pages of BARs (doorbell, card memory) are inserted when they are touched.
 *   When the device goes, or a broken channel is closed, they are zapped, and
 *   whoever touches them again gets a page of plain memory in their place: no
 *   error that would kill it.
 * - To zap exactly one channel's pages, whatever nodes and programs they were
 *   mapped through, each open file has an address_space of its own.
 *
 * docs/decisions/0008 has the alternatives.
 */
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pfn.h>
#include <linux/swiotlb.h>
#include <linux/version.h>

#include "lanecall.h"

/*
 * What can be mapped. Each has a stretch of the file's offsets to itself that is
 * enough for the largest ring twice, and all of them fit into a signed 32-bit
 * offset.
 */
enum {
	PART_STATUS, /* from here: host memory */
	PART_HOST_TX,
	PART_HOST_RX,
	PART_DOORBELL, /* from here: BARs */
	PART_CARD_INDEX,
	PART_CARD_TX,
	PART_CARD_RX,
};

#define PART_SHIFT 25
#define PART_OFFSET(part) ((u64)(part) << PART_SHIFT)

struct part {
	u32 bytes;
	bool is_ring; /* may be mapped twice, back to back */
	struct page **pages; /* in host memory; NULL: in a BAR */
	phys_addr_t start; /* in a BAR */
};

/* A PART_ number, or what is none. */
static unsigned long part_at(unsigned long pgoff)
{
	return pgoff >> (PART_SHIFT - PAGE_SHIFT);
}

static unsigned long pages_into_part(unsigned long pgoff)
{
	return pgoff & ((1UL << (PART_SHIFT - PAGE_SHIFT)) - 1);
}

static phys_addr_t doorbell_start(const struct lanecall_channel *ch)
{
	const struct lanecall_geometry *geo = &ch->ldev->geo;

	return pci_resource_start(ch->ldev->pdev, LANECALL_BAR_REGS) +
	       geo->doorbell_offset + geo->doorbell_stride * ch->slot->number;
}

static phys_addr_t card_start(const struct lanecall_channel *ch, u64 offset)
{
	return pci_resource_start(ch->ldev->pdev, LANECALL_BAR_CARD) + offset;
}

/* False: this channel has no such part. Holds setup; not detached. */
static bool find_part(struct lanecall_channel *ch, unsigned long number,
		      struct part *part)
{
	memset(part, 0, sizeof(*part));
	part->bytes = PAGE_SIZE;
	switch (number) {
	case PART_STATUS:
		part->pages = &ch->index_page;
		return true;
	case PART_DOORBELL:
		part->start = doorbell_start(ch);
		return true;
	case PART_CARD_INDEX:
		part->start = card_start(ch, ch->placed.index);
		return ch->in_card;
	case PART_HOST_TX:
	case PART_CARD_TX:
		part->bytes = ch->tx_bytes;
		part->pages = ch->tx.pages;
		part->start = card_start(ch, ch->placed.tx);
		part->is_ring = true;
		return ch->in_card == (number == PART_CARD_TX);
	case PART_HOST_RX:
	case PART_CARD_RX:
		part->bytes = ch->rx_bytes;
		part->pages = ch->rx.pages;
		part->start = card_start(ch, ch->placed.rx);
		part->is_ring = true;
		return ch->in_card == (number == PART_CARD_RX);
	}
	return false;
}

/* ---- Choosing mapped mode ------------------------------------------------------ */

/*
 * User space cannot synchronise memory with a device that is not coherent, or
 * whose every transfer is bounced; and a doorbell has to have a page to itself.
 */
bool lanecall_mapping_is_possible(const struct lanecall_device *ldev)
{
	struct device *dev = &ldev->pdev->dev;

	return dev_is_dma_coherent(dev) && !is_swiotlb_force_bounce(dev) &&
	       ldev->geo.doorbell_stride >= PAGE_SIZE;
}

/*
 * Does the device see this very page at that address, and no copy of it? Where an
 * IOMMU translates, its tables know; dma_need_sync() may say yes there of every
 * address (Linux 6.1 does).
 */
static bool is_seen_itself(struct device *dev, struct page *page,
			   dma_addr_t address)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (domain && domain->type & __IOMMU_DOMAIN_PAGING)
		return iommu_iova_to_phys(domain, address) ==
		       page_to_phys(page);
	return !dma_need_sync(dev, address);
}

static bool are_all_seen(struct device *dev,
			 const struct lanecall_buffer *buffer)
{
	unsigned int i;

	for (i = 0; i < buffer->page_count; i++)
		if (!is_seen_itself(dev, buffer->pages[i],
				    buffer->addresses[i]))
			return false;
	return true;
}

/* May this channel's pages be shown to a program, whole and nothing else? */
static bool can_be_mapped(struct lanecall_channel *ch)
{
	struct device *dev = &ch->ldev->pdev->dev;

	return ch->index_page && ch->tx_bytes >= PAGE_SIZE &&
	       ch->rx_bytes >= PAGE_SIZE &&
	       is_seen_itself(dev, ch->index_page, ch->index_address) &&
	       are_all_seen(dev, &ch->tx) && are_all_seen(dev, &ch->rx);
}

/* Why the open failed, for a channel that will never have rings. */
static int why_no_rings(struct lanecall_channel *ch)
{
	u32 word;

	if (lanecall_channel_look(ch, &word))
		return -EIO;
	return lanecall_status_errno(word) ?: -ECONNRESET;
}

static int set_mapped(struct lanecall_channel *ch)
{
	int err = 0;

	spin_lock(&ch->look);
	if (ch->detached || ch->broken)
		err = -EIO;
	else if (!ch->attached)
		err = why_no_rings(ch);
	else if (!ch->mapped && (ch->tx_ring.own || ch->rx_ring.own))
		err = -EBUSY;
	else
		ch->mapped = true;
	spin_unlock(&ch->look);
	return err;
}

/* Holds setup, reader and writer: nobody is in the middle of a copy. */
static int choose(struct lanecall_channel *ch)
{
	if (READ_ONCE(ch->detached))
		return -EIO;
	if (!can_be_mapped(ch))
		return -EOPNOTSUPP;
	if (!ch->dummy)
		ch->dummy = alloc_page(GFP_KERNEL | __GFP_ZERO);
	return ch->dummy ? set_mapped(ch) : -ENOMEM;
}

static void describe(const struct lanecall_channel *ch,
		     struct lanecall_mapping *mapping)
{
	bool card = ch->in_card;

	*mapping = (struct lanecall_mapping){
		.flags = card ? LANECALL_MAPPING_IN_CARD : 0,
		.page_bytes = PAGE_SIZE,
		.tx_bytes = ch->tx_bytes,
		.rx_bytes = ch->rx_bytes,
		.status_offset = PART_OFFSET(PART_STATUS),
		.index_offset = PART_OFFSET(card ? PART_CARD_INDEX :
						   PART_STATUS),
		.doorbell_offset = PART_OFFSET(PART_DOORBELL),
		.tx_offset = PART_OFFSET(card ? PART_CARD_TX : PART_HOST_TX),
		.rx_offset = PART_OFFSET(card ? PART_CARD_RX : PART_HOST_RX),
	};
}

/**
 * lanecall_mapping_choose() - LANECALL_IOC_MAP; see abi/lanecall/driver.h
 * @ch: the channel
 * @nonblock: do not wait for its rings
 * @mapping: filled in
 */
int lanecall_mapping_choose(struct lanecall_channel *ch, bool nonblock,
			    struct lanecall_mapping *mapping)
{
	int err;

	if (READ_ONCE(ch->detached))
		return -EIO;
	if (!ch->index_page) /* before the channel is used in any way */
		return -EOPNOTSUPP;
	err = lanecall_channel_use(ch, nonblock);
	if (err)
		return err;
	mutex_lock(&ch->setup);
	mutex_lock(&ch->reader);
	mutex_lock(&ch->writer);
	err = choose(ch);
	mutex_unlock(&ch->writer);
	mutex_unlock(&ch->reader);
	if (!err)
		describe(ch, mapping);
	mutex_unlock(&ch->setup);
	wake_up_all(&ch->slot->wait); /* who sleeps in read or write: EBUSY */
	return err;
}

/* ---- Mapping ------------------------------------------------------------------- */

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static void change_flags(struct vm_area_struct *vma, unsigned long set,
			 unsigned long clear)
{
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}
#else
static void change_flags(struct vm_area_struct *vma, unsigned long set,
			 unsigned long clear)
{
	vm_flags_mod(vma, set, clear);
}
#endif

/* A page of a BAR, or what stands in for it. */
static vm_fault_t part_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct lanecall_channel *ch = vma->vm_private_data;
	unsigned long within = pages_into_part(vmf->pgoff);
	pgprot_t prot = vma->vm_page_prot;
	struct part part;
	vm_fault_t fault;
	unsigned long pfn;

	mutex_lock(&ch->setup); /* over check and insert: see revoke */
	if (ch->revoked) {
		pfn = page_to_pfn(ch->dummy);
		prot = vm_get_page_prot(vma->vm_flags);
	} else {
		find_part(ch, part_at(vmf->pgoff), &part);
		pfn = PHYS_PFN(part.start) + within % PHYS_PFN(part.bytes);
	}
	fault = vmf_insert_pfn_prot(vma, vmf->address, pfn, prot);
	mutex_unlock(&ch->setup);
	return fault;
}

static const struct vm_operations_struct part_vm_ops = {
	.fault = part_fault,
};

static int map_bar(struct lanecall_channel *ch, struct vm_area_struct *vma)
{
	pgprot_t prot = vma->vm_page_prot;

	if (part_at(vma->vm_pgoff) == PART_DOORBELL)
		vma->vm_page_prot = pgprot_noncached(prot);
	else
		vma->vm_page_prot = pgprot_writecombine(prot);
	change_flags(vma, VM_IO | VM_PFNMAP, 0);
	vma->vm_private_data = ch;
	vma->vm_ops = &part_vm_ops;
	return 0;
}

/* Once, or for a ring of twice the length a second time behind. */
static int map_pages(struct vm_area_struct *vma, const struct part *part)
{
	unsigned long at;
	int err = 0;

	for (at = vma->vm_start; at < vma->vm_end && !err; at += part->bytes) {
		unsigned long count = PHYS_PFN(part->bytes);

		err = vm_insert_pages(vma, at, part->pages, &count);
	}
	return err;
}

static bool is_valid_length(const struct part *part, unsigned long bytes)
{
	return bytes == part->bytes ||
	       (part->is_ring && bytes == 2UL * part->bytes);
}

static int map_part(struct lanecall_channel *ch, struct vm_area_struct *vma)
{
	struct part part;

	if (ch->revoked)
		return -EIO;
	if (!ch->mapped || pages_into_part(vma->vm_pgoff) ||
	    !find_part(ch, part_at(vma->vm_pgoff), &part) ||
	    !is_valid_length(&part, vma->vm_end - vma->vm_start))
		return -EINVAL;
	return part.pages ? map_pages(vma, &part) : map_bar(ch, vma);
}

/* mmap: exactly a part that LANECALL_IOC_MAP named, shared, never to be run. */
int lanecall_mapping_mmap(struct lanecall_channel *ch,
			  struct vm_area_struct *vma)
{
	int err;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EPERM;
	change_flags(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP,
		     VM_MAYEXEC);
	mutex_lock(&ch->setup);
	err = map_part(ch, vma);
	mutex_unlock(&ch->setup);
	return err;
}

/* ---- The end --------------------------------------------------------------------- */

/* From now on what is mapped through this file can be told from all the rest. */
void lanecall_mapping_init(struct lanecall_channel *ch, struct file *file)
{
	struct address_space *mapping = &ch->mapping;

	address_space_init_once(mapping);
	init_rwsem(&mapping->invalidate_lock);
	mapping->host = file_inode(file);
	mapping->a_ops = &empty_aops;
	mapping_set_gfp_mask(mapping, GFP_USER);
	file->f_mapping = mapping;
}

/**
 * lanecall_mapping_revoke() - no program reaches a BAR any more
 * @ch: its setup lock is held; it is detached or broken
 *
 * A fault that comes later inserts the dummy; one that inserted a BAR's page has
 * let go of setup before, so the page is zapped here.
 */
void lanecall_mapping_revoke(struct lanecall_channel *ch)
{
	lockdep_assert_held(&ch->setup);
	ch->revoked = true;
	if (ch->mapped)
		unmap_mapping_range(&ch->mapping, PART_OFFSET(PART_DOORBELL),
				    0, 1);
}
