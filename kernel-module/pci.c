// SPDX-License-Identifier: GPL-2.0
/*
 * The PCI side: probe and remove, interrupts, suspend, resets and bus errors.
 *
 * Whatever takes the device away (unbind, removal, suspend, shutdown, reset, a
 * bus error) is one thing to the rest of the module: the engine stops. Whatever
 * brings it back starts the engine again; descriptors from before stay dead.
 */
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "lanecall.h"
#include "trace.h"

#define LANECALL_VECTORS_PER_CPU 32

static bool follow_readers = true;
module_param(follow_readers, bool, 0644);
MODULE_PARM_DESC(follow_readers,
		 "Send a channel's interrupt to where its reader sleeps");

/* ---- Interrupts ------------------------------------------------------------ */

/* Memory has the news; the handler only says that there are some. */
static irqreturn_t lanecall_interrupt(int irq, void *data)
{
	struct lanecall_vector *vector = data;
	struct lanecall_device *ldev = vector->ldev;
	unsigned int i;

	if (vector == ldev->vectors) /* number 0, which is also regions' */
		wake_up_all(&ldev->regions_wait);
	for (i = vector->first; i < ldev->slot_count; i += vector->step) {
		struct lanecall_slot *slot = &ldev->slots[i];

		/* A vector is shared with slots that nobody uses, too. */
		if (READ_ONCE(slot->channel)) {
			trace_lanecall_interrupt(slot);
			lanecall_count(slot, LANECALL_INTERRUPTS, 1);
		}
		wake_up_all(&slot->wait);
		if (READ_ONCE(slot->closing) != LANECALL_IN_USE)
			lanecall_slot_kick(slot);
	}
	return IRQ_HANDLED;
}

static bool serves_one_channel(const struct lanecall_vector *vector)
{
	unsigned int slots = vector->ldev->slot_count;

	return vector->first < slots && vector->first + vector->step >= slots;
}

static void send_to(struct lanecall_vector *vector, int cpu)
{
	if (vector->target == cpu || !serves_one_channel(vector))
		return;
	vector->target = cpu;
	/* If that processor has no vector left, it stays where it is. */
	irq_set_affinity(vector->irq, cpumask_of(cpu));
}

/**
 * lanecall_interrupt_here() - send the channel's interrupt to this processor
 * @ch: the caller is about to sleep until bytes come
 *
 * An interrupt elsewhere has to wake the sleeper across processors. A vector of
 * several channels stays where it is: it would be moved, a register write, at
 * every sleep, and be right for the last sleeper only. For the same reason those
 * who wait for room in TX do not call this.
 */
void lanecall_interrupt_here(struct lanecall_channel *ch)
{
	int cpu = raw_smp_processor_id();

	if (!READ_ONCE(follow_readers) || num_online_cpus() == 1)
		return;
	mutex_lock(&ch->setup);
	if (!READ_ONCE(ch->detached))
		send_to(&ch->ldev->vectors[ch->slot->vector], cpu);
	mutex_unlock(&ch->setup);
}

/*
 * Vector 0 is the classic edu's and regions', so channels share out the others,
 * if there are any. Without MSI-X the device raises vector 0 for everything.
 */
static void share_out_vectors(struct lanecall_device *ldev)
{
	unsigned int shared = ldev->vector_count - 1;
	unsigned int i;

	for (i = 0; i < ldev->vector_count; i++) {
		struct lanecall_vector *vector = &ldev->vectors[i];

		vector->ldev = ldev;
		vector->first = shared ? i - 1 : 0;
		vector->step = shared ?: 1;
		vector->target = -1;
	}
	if (shared)
		ldev->vectors[0].first = ldev->slot_count; /* serves none */
	for (i = 0; i < ldev->slot_count; i++)
		ldev->slots[i].vector = shared ? 1 + i % shared : 0;
}

/*
 * x86 has about 200 vectors for each processor, so several devices, or one next
 * to others, cannot have one for every channel. Ask for a fair share.
 */
static unsigned int wanted_vectors(const struct lanecall_device *ldev)
{
	unsigned int share = 1 + LANECALL_VECTORS_PER_CPU * num_online_cpus();

	return min3(ldev->geo.vectors, ldev->slot_count + 1, share);
}

static int alloc_vectors(struct pci_dev *pdev, unsigned int wanted)
{
	int count = pci_alloc_irq_vectors(pdev, 1, wanted, PCI_IRQ_MSIX);

	return count > 0 ? count : pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSI);
}

static void free_vectors(struct lanecall_device *ldev, unsigned int requested)
{
	struct pci_dev *pdev = ldev->pdev;

	while (requested--)
		devm_free_irq(&pdev->dev, pci_irq_vector(pdev, requested),
			      &ldev->vectors[requested]);
	pci_free_irq_vectors(pdev);
}

/* Take exactly what the bus gave, or nothing. */
static int request_vectors(struct lanecall_device *ldev, unsigned int count)
{
	struct pci_dev *pdev = ldev->pdev;
	unsigned int i;
	int err;

	ldev->vector_count = count;
	share_out_vectors(ldev);
	for (i = 0; i < count; i++) {
		struct lanecall_vector *vector = &ldev->vectors[i];

		vector->irq = pci_irq_vector(pdev, i);
		err = devm_request_irq(&pdev->dev, vector->irq,
				       lanecall_interrupt, 0,
				       dev_name(&ldev->dev), vector);
		if (err) {
			free_vectors(ldev, i);
			return err;
		}
	}
	return 0;
}

/* Vectors are promised before they are there: with none left, ask for fewer. */
static int lanecall_setup_interrupts(struct lanecall_device *ldev)
{
	struct pci_dev *pdev = ldev->pdev;
	unsigned int wanted = wanted_vectors(ldev);
	int count, err;

	ldev->vectors = devm_kcalloc(&pdev->dev, wanted, sizeof(*ldev->vectors),
				     GFP_KERNEL);
	if (!ldev->vectors)
		return -ENOMEM;
	do {
		count = alloc_vectors(pdev, wanted);
		if (count < 0)
			return dev_err_probe(&pdev->dev, count,
					     "neither MSI-X nor MSI to be had\n");
		err = request_vectors(ldev, count);
		wanted = count / 2;
	} while (err == -ENOSPC && wanted);
	if (err)
		dev_err(&pdev->dev, "no interrupt vector to be had: %d\n", err);
	return err;
}

/* ---- The device object ------------------------------------------------------ */

static void lanecall_device_release(struct device *dev)
{
	struct lanecall_device *ldev =
		container_of(dev, struct lanecall_device, dev);

	lanecall_minor_put(ldev);
	lanecall_sysfs_free(ldev);
	ida_destroy(&ldev->region_slots);
	kfree(ldev->slots);
	kfree(ldev);
}

/* Interrupts, which start reapers, came after it in probe: they are freed. */
static void lanecall_device_put(void *data)
{
	struct lanecall_device *ldev = data;
	unsigned int i;

	for (i = 0; i < ldev->slot_count; i++)
		cancel_delayed_work_sync(&ldev->slots[i].reap);
	put_device(&ldev->dev);
}

static void init_slot(struct lanecall_device *ldev, unsigned int number)
{
	struct lanecall_slot *slot = &ldev->slots[number];

	slot->ldev = ldev;
	slot->number = number;
	init_waitqueue_head(&slot->wait);
	INIT_DELAYED_WORK(&slot->reap, lanecall_slot_reap);
}

/* Freed with its last reference: the driver's goes after its interrupts. */
static struct lanecall_device *
lanecall_device_create(struct pci_dev *pdev, void __iomem *regs,
		       const struct lanecall_geometry *geo)
{
	struct lanecall_device *ldev = kzalloc(sizeof(*ldev), GFP_KERNEL);
	unsigned int i;
	int err;

	if (!ldev)
		return ERR_PTR(-ENOMEM);
	device_initialize(&ldev->dev);
	ldev->dev.class = &lanecall_class;
	ldev->dev.parent = &pdev->dev;
	ldev->dev.release = lanecall_device_release;
	mutex_init(&ldev->lock);
	spin_lock_init(&ldev->shares_lock);
	INIT_LIST_HEAD(&ldev->shares);
	ida_init(&ldev->region_slots);
	ldev->pdev = pdev;
	ldev->regs = regs;
	ldev->geo = *geo;
	strscpy(ldev->pci_name, pci_name(pdev), sizeof(ldev->pci_name));
	err = devm_add_action_or_reset(&pdev->dev, lanecall_device_put, ldev);
	if (err)
		return ERR_PTR(err);
	ldev->slots = kcalloc(geo->channels, sizeof(*ldev->slots), GFP_KERNEL);
	if (!ldev->slots)
		return ERR_PTR(-ENOMEM);
	ldev->slot_count = geo->channels;
	for (i = 0; i < ldev->slot_count; i++)
		init_slot(ldev, i);
	err = lanecall_minor_get(ldev);
	if (!err)
		err = lanecall_sysfs_create(ldev);
	if (err)
		return ERR_PTR(err);
	cdev_init(&ldev->cdev, &lanecall_fops);
	ldev->cdev.owner = THIS_MODULE;
	return ldev;
}

/* ---- Probe and remove -------------------------------------------------------- */

/* A stock edu has the same ids and BAR 0 only. */
static bool has_engine(struct pci_dev *pdev)
{
	return pci_resource_flags(pdev, LANECALL_BAR_REGS) & IORESOURCE_MEM &&
	       pci_resource_len(pdev, LANECALL_BAR_REGS) >= SZ_4K;
}

static bool has_card_memory(struct pci_dev *pdev)
{
	const unsigned long wanted = IORESOURCE_MEM | IORESOURCE_MEM_64;

	return (pci_resource_flags(pdev, LANECALL_BAR_CARD) & wanted) == wanted &&
	       pci_resource_len(pdev, LANECALL_BAR_CARD) >= PAGE_SIZE;
}

/*
 * All of BAR 4, if there is one, write-combining: bytes go out in bursts, and
 * ring.h has the fences. The kernel's attribute is also that of programs'
 * mappings.
 */
static int map_card(struct pci_dev *pdev, struct lanecall_device *ldev)
{
	resource_size_t start = pci_resource_start(pdev, LANECALL_BAR_CARD);
	resource_size_t bytes = pci_resource_len(pdev, LANECALL_BAR_CARD);
	void *card;

	if (!has_card_memory(pdev))
		return 0;
	if (!devm_request_mem_region(&pdev->dev, start, bytes, LANECALL_NAME))
		return dev_err_probe(&pdev->dev, -EBUSY,
				     "card memory at %pa is not to be had: another driver's, or the kernel has no memory\n",
				     &start);
	card = devm_memremap(&pdev->dev, start, bytes, MEMREMAP_WC);
	if (IS_ERR(card))
		return dev_err_probe(&pdev->dev, PTR_ERR(card),
				     "cannot map card memory\n");
	ldev->card = card;
	ldev->card_bytes = bytes;
	return 0;
}

static int lanecall_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct lanecall_geometry geo;
	struct lanecall_device *ldev;
	void __iomem *regs;
	int err;

	if (!has_engine(pdev)) {
		dev_info(&pdev->dev,
			 "a stock edu without an RPC engine: start QEMU with -device edu,rpc=unix:PATH or rpc=tcp:HOST:PORT\n");
		return -ENODEV;
	}
	err = pcim_enable_device(pdev);
	if (err)
		return err;
	err = pcim_iomap_regions(pdev, BIT(LANECALL_BAR_REGS), LANECALL_NAME);
	if (err)
		return err;
	regs = pcim_iomap_table(pdev)[LANECALL_BAR_REGS];
	memset(&geo, 0, sizeof(geo));
	err = lanecall_engine_identify(pdev, regs, &geo);
	if (err)
		return err;
	err = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (err)
		return err;
	ldev = lanecall_device_create(pdev, regs, &geo);
	if (IS_ERR(ldev))
		return PTR_ERR(ldev);
	pci_set_drvdata(pdev, ldev);
	err = map_card(pdev, ldev);
	if (err)
		return err;
	err = lanecall_regions_init(ldev);
	if (err)
		return err;
	err = lanecall_setup_interrupts(ldev);
	if (err)
		return err;
	err = lanecall_engine_start(ldev);
	if (err)
		return err;
	err = cdev_device_add(&ldev->cdev, &ldev->dev);
	if (err) {
		lanecall_engine_stop(ldev);
		return err;
	}
	dev_info(&pdev->dev, "/dev/%s: %u channels, %u vectors\n",
		 dev_name(&ldev->dev), ldev->slot_count, ldev->vector_count);
	return 0;
}

static void lanecall_remove(struct pci_dev *pdev)
{
	struct lanecall_device *ldev = pci_get_drvdata(pdev);

	cdev_device_del(&ldev->cdev, &ldev->dev);
	/* Files may stay open; the device that comes back is to have its name. */
	lanecall_minor_put(ldev);
	lanecall_engine_stop(ldev);
}

static void lanecall_shutdown(struct pci_dev *pdev)
{
	lanecall_engine_stop(pci_get_drvdata(pdev));
}

/* ---- Suspend, resets, bus errors --------------------------------------------- */

static int lanecall_suspend(struct device *dev)
{
	lanecall_engine_stop(dev_get_drvdata(dev));
	return 0;
}

static int lanecall_resume(struct device *dev)
{
	return lanecall_engine_start(dev_get_drvdata(dev));
}

static DEFINE_SIMPLE_DEV_PM_OPS(lanecall_pm_ops, lanecall_suspend,
				lanecall_resume);

static void lanecall_reset_prepare(struct pci_dev *pdev)
{
	lanecall_engine_stop(pci_get_drvdata(pdev));
}

static void lanecall_reset_done(struct pci_dev *pdev)
{
	struct lanecall_device *ldev = pci_get_drvdata(pdev);
	int err = lanecall_engine_start(ldev);

	if (err)
		dev_err(&ldev->dev, "not usable after a reset: %d\n", err);
}

static pci_ers_result_t lanecall_error_detected(struct pci_dev *pdev,
						pci_channel_state_t state)
{
	lanecall_engine_stop(pci_get_drvdata(pdev));
	switch (state) {
	case pci_channel_io_normal:
		return PCI_ERS_RESULT_CAN_RECOVER;
	case pci_channel_io_frozen:
		return PCI_ERS_RESULT_NEED_RESET;
	default:
		return PCI_ERS_RESULT_DISCONNECT;
	}
}

static pci_ers_result_t lanecall_mmio_enabled(struct pci_dev *pdev)
{
	return PCI_ERS_RESULT_RECOVERED;
}

static pci_ers_result_t lanecall_slot_reset(struct pci_dev *pdev)
{
	pci_restore_state(pdev);
	return PCI_ERS_RESULT_RECOVERED;
}

static void lanecall_error_resume(struct pci_dev *pdev)
{
	lanecall_reset_done(pdev);
}

static const struct pci_error_handlers lanecall_error_handlers = {
	.error_detected = lanecall_error_detected,
	.mmio_enabled = lanecall_mmio_enabled,
	.slot_reset = lanecall_slot_reset,
	.reset_prepare = lanecall_reset_prepare,
	.reset_done = lanecall_reset_done,
	.resume = lanecall_error_resume,
};

static const struct pci_device_id lanecall_ids[] = {
	{ PCI_DEVICE(LANECALL_PCI_VENDOR, LANECALL_PCI_DEVICE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, lanecall_ids);

struct pci_driver lanecall_pci_driver = {
	.name = LANECALL_NAME,
	.id_table = lanecall_ids,
	.probe = lanecall_probe,
	.remove = lanecall_remove,
	.shutdown = lanecall_shutdown,
	.driver.pm = pm_sleep_ptr(&lanecall_pm_ops),
	.err_handler = &lanecall_error_handlers,
};
