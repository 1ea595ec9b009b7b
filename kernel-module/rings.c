// SPDX-License-Identifier: GPL-2.0
/*
 * Where a channel's bytes are: rings that the driver allocates in host memory
 * and names in ATTACH, or rings that the device places in card memory and names
 * in the index page when it runs.
 */
#include <linux/dma-mapping.h>
#include <linux/log2.h>

#include "lanecall.h"
#include "trace.h"

static struct device *dma_device(struct lanecall_channel *ch)
{
	return &ch->ldev->pdev->dev;
}

/* ---- Attaching ------------------------------------------------------------- */

static int alloc_rings(struct lanecall_channel *ch)
{
	struct device *dev = dma_device(ch);
	unsigned int i, tx_pages;
	int err;

	err = lanecall_buffer_alloc(dev, &ch->tx, ch->tx_bytes, DMA_TO_DEVICE);
	if (err)
		return err;
	err = lanecall_buffer_alloc(dev, &ch->rx, ch->rx_bytes, DMA_FROM_DEVICE);
	if (err)
		return err;
	tx_pages = ch->tx.page_count;
	ch->tables_bytes = (tx_pages + ch->rx.page_count) * sizeof(*ch->tables);
	ch->tables = dma_alloc_coherent(dev, ch->tables_bytes,
					&ch->tables_address, GFP_KERNEL);
	if (!ch->tables)
		return -ENOMEM;
	for (i = 0; i < tx_pages; i++)
		ch->tables[i] = cpu_to_le64(ch->tx.addresses[i]);
	for (i = 0; i < ch->rx.page_count; i++)
		ch->tables[tx_pages + i] = cpu_to_le64(ch->rx.addresses[i]);
	return 0;
}

/* Holds setup; where the channel may be in use, reader and writer too. */
void lanecall_rings_free(struct lanecall_channel *ch)
{
	struct device *dev = dma_device(ch);

	lanecall_buffer_free(dev, &ch->tx);
	lanecall_buffer_free(dev, &ch->rx);
	if (ch->tables)
		dma_free_coherent(dev, ch->tables_bytes, ch->tables,
				  ch->tables_address);
	ch->tables = NULL;
}

static void send_tables(struct lanecall_channel *ch)
{
	dma_addr_t rx_table = ch->tables_address +
			      ch->tx.page_count * sizeof(*ch->tables);

	lanecall_slot_write64(ch->slot, LANECALL_CH_TX_TABLE_LO,
			      ch->tables_address);
	lanecall_slot_write64(ch->slot, LANECALL_CH_RX_TABLE_LO, rx_table);
}

static void send_moderation(struct lanecall_channel *ch)
{
	lanecall_slot_write(ch->slot, LANECALL_CH_MODERATE_BYTES,
			    ch->moderation.bytes);
	lanecall_slot_write(ch->slot, LANECALL_CH_MODERATE_US,
			    ch->moderation.microseconds);
}

static void send_attach(struct lanecall_channel *ch)
{
	struct lanecall_slot *slot = ch->slot;

	trace_lanecall_attach(ch);
	if (!ch->in_card)
		send_tables(ch);
	lanecall_slot_write(slot, LANECALL_CH_TX_SHIFT, ilog2(ch->tx_bytes));
	lanecall_slot_write(slot, LANECALL_CH_RX_SHIFT, ilog2(ch->rx_bytes));
	lanecall_slot_write(slot, LANECALL_CH_PAGE_SHIFT, PAGE_SHIFT);
	if (ch->features & LANECALL_FEATURE_MODERATION)
		send_moderation(ch);
	lanecall_slot_write(slot, LANECALL_CH_COMMAND, LANECALL_CMD_ATTACH);
}

/**
 * lanecall_rings_attach() - have a READY channel run
 * @ch: its setup lock is held; not attached before
 * @in_card: the device has said that it places the rings
 *
 * The rings are there when the device has said RUNNING, which may be now.
 */
int lanecall_rings_attach(struct lanecall_channel *ch, bool in_card)
{
	int err = in_card ? 0 : alloc_rings(ch);

	if (!err) {
		spin_lock(&ch->look);
		if (ch->detached || ch->broken) {
			err = -EIO;
		} else {
			ch->in_card = in_card;
			WRITE_ONCE(ch->attach_sent, true);
		}
		spin_unlock(&ch->look);
	}
	if (err) {
		lanecall_rings_free(ch);
		return err;
	}
	send_attach(ch);
	return 0;
}

/* ---- Placed by the device ---------------------------------------------------- */

static void init_rings(struct lanecall_channel *ch,
		       struct lanecall_index_page *words)
{
	lanecall_ring_init(&ch->tx_ring, &words->tx_producer,
			   &words->tx_consumer, ch->tx_bytes);
	lanecall_ring_init(&ch->rx_ring, &words->rx_producer,
			   &words->rx_consumer, ch->rx_bytes);
	smp_store_release(&ch->attached, true); /* pairs with use() */
}

static int adopt_placed(struct lanecall_channel *ch, bool ended)
{
	struct lanecall_places *places = &ch->index->card;
	struct lanecall_placement at = {
		.index = le64_to_cpu(READ_ONCE(places->index)),
		.tx = le64_to_cpu(READ_ONCE(places->tx)),
		.rx = le64_to_cpu(READ_ONCE(places->rx)),
	};

	if (ended && lanecall_placement_is_none(&at))
		return 0;
	if (!lanecall_placement_is_valid(&at, ch->tx_bytes, ch->rx_bytes,
					 PAGE_SIZE, ch->ldev->card_bytes))
		return -EIO;
	ch->placed = at;
	lanecall_buffer_place(&ch->tx, ch->ldev->card + at.tx, ch->tx_bytes);
	lanecall_buffer_place(&ch->rx, ch->ldev->card + at.rx, ch->rx_bytes);
	init_rings(ch, ch->ldev->card + at.index);
	return 0;
}

/**
 * lanecall_rings_adopt() - the device has said RUNNING, or ENDED, after ATTACH
 * @ch: its look lock is held; not attached yet, so no program has its index page
 * @ended: it was ENDED
 *
 * Return: 0, or -EIO for places that cannot be. A channel in card memory that
 * ended before it had any is not attached afterwards.
 */
int lanecall_rings_adopt(struct lanecall_channel *ch, bool ended)
{
	lockdep_assert_held(&ch->look);
	if (ch->in_card)
		return adopt_placed(ch, ended);
	init_rings(ch, ch->index);
	return 0;
}
