// SPDX-License-Identifier: GPL-2.0
/*
 * The RPC engine's registers: whether they can be believed, start and stop.
 *
 * Reads happen in probe, start, stop and the rare cases where memory cannot
 * tell; never while bytes move. All ones mean that the device is gone.
 */
#include <linux/delay.h>
#include <linux/iopoll.h>
#include <linux/log2.h>
#include <linux/moduleparam.h>

#include "lanecall.h"
#include "trace.h"

#define LANECALL_REGISTERS_END 0x64 /* past the last device register */
#define LANECALL_ALL_ONES 0xffffffffU

#define LANECALL_RESET_STEP_US 1000
#define LANECALL_RESET_MOST_MS 100 /* as the specification has it */

/* Longer than that: the device may be a program that is short of a processor. */
static unsigned int reset_ms = 30000;
module_param(reset_ms, uint, 0644);
MODULE_PARM_DESC(reset_ms,
		 "How long a reset device may take to come to rest before its memory is given up for lost (ms)");

/* count blocks of at least size bytes, one each stride, inside the BAR? */
static bool is_valid_array(u32 offset, u32 stride, u32 count, u32 size,
			   u64 bar_bytes)
{
	return offset >= LANECALL_REGISTERS_END && IS_ALIGNED(offset, 4) &&
	       IS_ALIGNED(stride, 4) && stride >= size &&
	       offset + (u64)stride * count <= bar_bytes;
}

static bool arrays_overlap(const struct lanecall_geometry *geo)
{
	u64 blocks_end = geo->channel_offset +
			 (u64)geo->channel_stride * geo->channels;
	u64 bells_end = geo->doorbell_offset +
			(u64)geo->doorbell_stride * geo->channels;

	return geo->channel_offset < bells_end &&
	       geo->doorbell_offset < blocks_end;
}

static bool is_valid_geometry(const struct lanecall_geometry *geo,
			      u64 bar_bytes)
{
	return bar_bytes <= U32_MAX && /* so all offsets below have 32 bits */
	       geo->channels >= 1 && geo->channels <= LANECALL_MAX_CHANNELS &&
	       geo->vectors >= 1 && geo->vectors <= LANECALL_MAX_CHANNELS + 1 &&
	       is_valid_array(geo->channel_offset, geo->channel_stride,
			      geo->channels, LANECALL_CH_SIZE, bar_bytes) &&
	       is_power_of_2(geo->doorbell_stride) &&
	       IS_ALIGNED(geo->doorbell_offset, geo->doorbell_stride) &&
	       is_valid_array(geo->doorbell_offset, geo->doorbell_stride,
			      geo->channels, 4096, bar_bytes) &&
	       !arrays_overlap(geo) &&
	       geo->ring_shift_min >= LANECALL_RING_SHIFT_MIN &&
	       geo->ring_shift_max <= LANECALL_RING_SHIFT_MAX &&
	       geo->ring_shift_min <= geo->ring_shift_max &&
	       geo->page_shift_min <= PAGE_SHIFT &&
	       geo->page_shift_max >= PAGE_SHIFT &&
	       geo->regions <= LANECALL_MAX_REGIONS;
}

/**
 * lanecall_engine_identify() - read and check what the device says of itself
 * @pdev: for messages and the size of BAR 2
 * @regs: BAR 2
 * @geo: filled in
 *
 * Return: 0, or -ENODEV after a message that says what is wrong.
 */
int lanecall_engine_identify(struct pci_dev *pdev, void __iomem *regs,
			     struct lanecall_geometry *geo)
{
	u32 magic = readl(regs + LANECALL_REG_MAGIC);
	u32 shifts;

	if (magic != LANECALL_MAGIC) {
		dev_err(&pdev->dev, "no RPC engine in BAR 2: magic %#x\n",
			magic);
		return -ENODEV;
	}
	geo->version = readl(regs + LANECALL_REG_VERSION);
	if (geo->version >> 16 != LANECALL_VERSION_MAJOR) {
		dev_err(&pdev->dev,
			"device ABI %u.%u, this module speaks %u.x: update the older of the two\n",
			geo->version >> 16, geo->version & 0xffff,
			LANECALL_VERSION_MAJOR);
		return -ENODEV;
	}
	geo->channels = readl(regs + LANECALL_REG_CHANNELS);
	geo->vectors = readl(regs + LANECALL_REG_VECTORS);
	geo->channel_offset = readl(regs + LANECALL_REG_CHANNEL_OFFSET);
	geo->channel_stride = readl(regs + LANECALL_REG_CHANNEL_STRIDE);
	geo->doorbell_offset = readl(regs + LANECALL_REG_DOORBELL_OFFSET);
	geo->doorbell_stride = readl(regs + LANECALL_REG_DOORBELL_STRIDE);
	shifts = readl(regs + LANECALL_REG_RING_SHIFTS);
	geo->ring_shift_min = shifts & 0xff;
	geo->ring_shift_max = (shifts >> 8) & 0xff;
	shifts = readl(regs + LANECALL_REG_PAGE_SHIFTS);
	geo->page_shift_min = shifts & 0xff;
	geo->page_shift_max = (shifts >> 8) & 0xff;
	if (readl(regs + LANECALL_REG_FEATURES_LO) & LANECALL_FEATURE_REGIONS) {
		geo->regions = readl(regs + LANECALL_REG_REGIONS);
		geo->region_extents = readl(regs + LANECALL_REG_REGION_EXTENTS);
	}
	if (!is_valid_geometry(geo, pci_resource_len(pdev, LANECALL_BAR_REGS))) {
		dev_err(&pdev->dev,
			"impossible layout: %u channels at %#x+%#x, doorbells at %#x+%#x, rings %u-%u, pages %u-%u, %u regions\n",
			geo->channels, geo->channel_offset, geo->channel_stride,
			geo->doorbell_offset, geo->doorbell_stride,
			geo->ring_shift_min, geo->ring_shift_max,
			geo->page_shift_min, geo->page_shift_max, geo->regions);
		return -ENODEV;
	}
	return 0;
}

/* Sleeps until a reset is over: 0, -ENODEV when gone, -ETIMEDOUT. */
static int lanecall_engine_reset(void __iomem *regs)
{
	u32 status;
	int err;

	writel(0, regs + LANECALL_REG_CONTROL);
	err = read_poll_timeout(readl, status,
				status == LANECALL_ALL_ONES ||
				!(status & LANECALL_STATUS_RESETTING),
				LANECALL_RESET_STEP_US,
				READ_ONCE(reset_ms) * (u64)USEC_PER_MSEC, false,
				regs + LANECALL_REG_STATUS);
	if (err)
		return err;
	if (status != LANECALL_ALL_ONES)
		return 0;
	/* It cannot say when it is at rest, and may be in the middle of a copy. */
	msleep(LANECALL_RESET_MOST_MS);
	return -ENODEV;
}

/* Of what the device offers, what this module knows and can use. */
static u64 acceptable_features(struct lanecall_device *ldev)
{
	u64 offered = readl(ldev->regs + LANECALL_REG_FEATURES_LO);
	u64 known = LANECALL_FEATURE_MODERATION | LANECALL_FEATURE_USERS;

	if (ldev->card)
		known |= LANECALL_FEATURE_CARD_RINGS;
	if (ldev->geo.regions)
		known |= LANECALL_FEATURE_REGIONS;
	return offered & known;
}

static int lanecall_engine_enable(struct lanecall_device *ldev)
{
	struct lanecall_geometry geo;
	u32 status;
	int err;

	memset(&geo, 0, sizeof(geo));
	err = lanecall_engine_identify(ldev->pdev, ldev->regs, &geo);
	if (err)
		return err;
	if (memcmp(&geo, &ldev->geo, sizeof(geo))) {
		dev_err(&ldev->dev, "the device changed its layout\n");
		return -ENODEV;
	}
	err = lanecall_engine_reset(ldev->regs);
	if (err)
		return err;
	/* Not before: an engine left running has rings that are long freed. */
	pci_set_master(ldev->pdev);
	ldev->features = acceptable_features(ldev);
	writel(lower_32_bits(ldev->features),
	       ldev->regs + LANECALL_REG_ACCEPTED_LO);
	writel(upper_32_bits(ldev->features),
	       ldev->regs + LANECALL_REG_ACCEPTED_HI);
	writel(LANECALL_CONTROL_ENABLE, ldev->regs + LANECALL_REG_CONTROL);
	status = readl(ldev->regs + LANECALL_REG_STATUS);
	if (status == LANECALL_ALL_ONES || !(status & LANECALL_STATUS_ENABLED)) {
		dev_err(&ldev->dev, "the engine does not start: status %#x\n",
			status);
		return -EIO;
	}
	ldev->generation = readl(ldev->regs + LANECALL_REG_GENERATION);
	ldev->restless = false;
	ldev->online = true;
	pci_save_state(ldev->pdev); /* for lanecall_slot_reset() */
	return 0;
}

int lanecall_engine_start(struct lanecall_device *ldev)
{
	int err;

	mutex_lock(&ldev->lock);
	err = ldev->online ? 0 : lanecall_engine_enable(ldev);
	mutex_unlock(&ldev->lock);
	return err;
}

static void engine_stop(struct lanecall_device *ldev)
{
	unsigned int i;

	if (ldev->online) {
		ldev->online = false;
		ldev->restless =
			lanecall_engine_reset(ldev->regs) == -ETIMEDOUT;
		if (ldev->restless)
			dev_err(&ldev->dev,
				"not at rest %u ms after a reset: the memory it was given is lost until this machine is restarted\n",
				READ_ONCE(reset_ms));
		/* It begins no access now; one under way may still be. */
		pci_clear_master(ldev->pdev);
	}
	for (i = 0; i < ldev->slot_count; i++)
		lanecall_slot_vacate(&ldev->slots[i]);
}

/*
 * Stop the device and detach every channel. Sleeps; afterwards nothing touches
 * DMA memory that was given back, nor registers, and new opens fail until the
 * next start.
 */
void lanecall_engine_stop(struct lanecall_device *ldev)
{
	mutex_lock(&ldev->lock);
	engine_stop(ldev);
	mutex_unlock(&ldev->lock);
}

/*
 * Reset a device that this channel cannot go on with. All channels are lost, and
 * their memory released, but new opens work. Nothing if it is detached by now.
 */
void lanecall_engine_restart(struct lanecall_channel *ch)
{
	struct lanecall_device *ldev = ch->ldev;
	int err = 0;

	mutex_lock(&ldev->lock);
	if (!ch->detached) {
		engine_stop(ldev);
		err = lanecall_engine_enable(ldev);
	}
	mutex_unlock(&ldev->lock);
	if (err)
		dev_err(&ldev->dev, "not usable after a reset: %d\n", err);
}

static void __iomem *control_block(struct lanecall_slot *slot)
{
	const struct lanecall_geometry *geo = &slot->ldev->geo;

	return slot->ldev->regs + geo->channel_offset +
	       geo->channel_stride * slot->number;
}

void lanecall_slot_write(struct lanecall_slot *slot, u32 reg, u32 value)
{
	writel(value, control_block(slot) + reg);
}

/* reg is the register of the low word; the high word's follows it. */
void lanecall_slot_write64(struct lanecall_slot *slot, u32 reg, u64 value)
{
	lanecall_slot_write(slot, reg, lower_32_bits(value));
	lanecall_slot_write(slot, reg + 4, upper_32_bits(value));
}

u32 lanecall_slot_status(struct lanecall_slot *slot)
{
	return readl(control_block(slot) + LANECALL_CH_STATUS);
}

void lanecall_slot_doorbell(struct lanecall_slot *slot)
{
	const struct lanecall_geometry *geo = &slot->ldev->geo;

	trace_lanecall_doorbell(slot);
	lanecall_count(slot, LANECALL_DOORBELLS, 1);
	writel(1, slot->ldev->regs + geo->doorbell_offset +
		  geo->doorbell_stride * slot->number);
}

/* ---- Regions ------------------------------------------------------------------ */

/* Holds the device's lock, which keeps commands apart; online. */
void lanecall_region_add(struct lanecall_device *ldev, u32 slot,
			 dma_addr_t descriptor)
{
	void __iomem *regs = ldev->regs;

	writel(slot, regs + LANECALL_REG_REGION_SLOT);
	writel(0, regs + LANECALL_REG_REGION_VECTOR); /* see share_out_vectors() */
	writel(lower_32_bits(descriptor), regs + LANECALL_REG_REGION_LO);
	writel(upper_32_bits(descriptor), regs + LANECALL_REG_REGION_HI);
	writel(LANECALL_REGION_ADD, regs + LANECALL_REG_REGION_COMMAND);
}

/* Likewise. */
void lanecall_region_remove(struct lanecall_device *ldev, u32 slot)
{
	writel(slot, ldev->regs + LANECALL_REG_REGION_SLOT);
	writel(LANECALL_REGION_REMOVE,
	       ldev->regs + LANECALL_REG_REGION_COMMAND);
}
