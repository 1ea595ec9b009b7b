// SPDX-License-Identifier: GPL-2.0
/*
 * A ring's bytes: single pages for the device, one span for the kernel. Or a
 * stretch of card memory, which is both as it is.
 *
 * Nothing larger than a page is asked of the allocator, so that a fragmented
 * machine can still open a channel. The pages may be non-coherent: they are
 * synchronised around each copy, which costs nothing where they are coherent.
 */
#include <linux/dma-mapping.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/vmalloc.h>

#include "lanecall.h"

/**
 * lanecall_page_alloc() - a zeroed page that a device can reach
 * @dev: the device
 * @address: its address for the device
 * @direction: of the transfers
 *
 * Given back with dma_free_pages(). A kernel that checks users of the DMA API
 * wants to see that they look at every address, here too.
 */
struct page *lanecall_page_alloc(struct device *dev, dma_addr_t *address,
				 enum dma_data_direction direction)
{
	struct page *page = dma_alloc_pages(dev, PAGE_SIZE, address, direction,
					    GFP_KERNEL);

	return page && !dma_mapping_error(dev, *address) ? page : NULL;
}

static int buffer_alloc_pages(struct device *dev, struct lanecall_buffer *buffer,
			      unsigned int count)
{
	while (buffer->page_count < count) {
		unsigned int i = buffer->page_count;

		buffer->pages[i] = lanecall_page_alloc(dev,
						       &buffer->addresses[i],
						       buffer->direction);
		if (!buffer->pages[i])
			return -ENOMEM;
		/* Its zeroes must not be written back over the device's bytes. */
		dma_sync_single_for_device(dev, buffer->addresses[i], PAGE_SIZE,
					   buffer->direction);
		buffer->page_count++;
	}
	return 0;
}

/**
 * lanecall_buffer_alloc() - a ring's memory
 * @dev: the device that will use it
 * @buffer: zeroed; lanecall_buffer_free() takes it, also after an error
 * @bytes: a power of two
 * @direction: DMA_TO_DEVICE or DMA_FROM_DEVICE
 */
int lanecall_buffer_alloc(struct device *dev, struct lanecall_buffer *buffer,
			  u32 bytes, enum dma_data_direction direction)
{
	unsigned int count = DIV_ROUND_UP(bytes, PAGE_SIZE);
	int err;

	buffer->bytes = bytes;
	buffer->direction = direction;
	buffer->pages = kvcalloc(count, sizeof(*buffer->pages), GFP_KERNEL);
	buffer->addresses = kvcalloc(count, sizeof(*buffer->addresses),
				     GFP_KERNEL);
	if (!buffer->pages || !buffer->addresses)
		return -ENOMEM;
	err = buffer_alloc_pages(dev, buffer, count);
	if (err)
		return err;
	buffer->data = vmap(buffer->pages, count, VM_MAP, PAGE_KERNEL);
	return buffer->data ? 0 : -ENOMEM;
}

/* A ring in card memory, which the caller keeps mapped. */
void lanecall_buffer_place(struct lanecall_buffer *buffer, void *data,
			   u32 bytes)
{
	buffer->bytes = bytes;
	buffer->data = data;
}

void lanecall_buffer_free(struct device *dev, struct lanecall_buffer *buffer)
{
	if (buffer->pages && buffer->data)
		vunmap(buffer->data);
	while (buffer->page_count) {
		unsigned int i = --buffer->page_count;

		dma_free_pages(dev, PAGE_SIZE, buffer->pages[i],
			       buffer->addresses[i], buffer->direction);
	}
	kvfree(buffer->pages);
	kvfree(buffer->addresses);
	memset(buffer, 0, sizeof(*buffer));
}

/*
 * Call sync for [offset, offset + length) of the ring, page by page. Card memory
 * has no processor's cache in front of it.
 */
static void buffer_sync(struct device *dev, const struct lanecall_buffer *buffer,
			u32 offset, u32 length,
			void (*sync)(struct device *dev, dma_addr_t address,
				     size_t bytes, enum dma_data_direction dir))
{
	while (buffer->addresses && length) {
		u32 inside = offset_in_page(offset);
		u32 part = min_t(u32, length, PAGE_SIZE - inside);

		sync(dev, buffer->addresses[offset >> PAGE_SHIFT] + inside,
		     part, buffer->direction);
		offset += part;
		length -= part;
	}
}

/* The span from a stream position to the ring's end, at most bytes long. */
static u32 span_to_end(const struct lanecall_buffer *buffer, u32 index,
		       u32 bytes)
{
	return min(bytes, buffer->bytes - (index & (buffer->bytes - 1)));
}

/**
 * lanecall_buffer_copy_in() - from the caller's memory into the ring
 * @dev: the device that uses the ring
 * @buffer: the ring
 * @index: stream position
 * @bytes: at most the ring's size
 * @from: may fault
 *
 * Return: how much was copied; less than @bytes after a fault.
 */
u32 lanecall_buffer_copy_in(struct device *dev, struct lanecall_buffer *buffer,
			    u32 index, u32 bytes, struct iov_iter *from)
{
	u32 done = 0;

	while (done < bytes) {
		u32 offset = (index + done) & (buffer->bytes - 1);
		u32 part = span_to_end(buffer, index + done, bytes - done);
		u32 copied = copy_from_iter(buffer->data + offset, part, from);

		buffer_sync(dev, buffer, offset, copied,
			    dma_sync_single_for_device);
		done += copied;
		if (copied < part)
			break;
	}
	return done;
}

/* The mirror image, from the ring into the caller's memory. */
u32 lanecall_buffer_copy_out(struct device *dev, struct lanecall_buffer *buffer,
			     u32 index, u32 bytes, struct iov_iter *to)
{
	u32 done = 0;

	while (done < bytes) {
		u32 offset = (index + done) & (buffer->bytes - 1);
		u32 part = span_to_end(buffer, index + done, bytes - done);
		u32 copied;

		buffer_sync(dev, buffer, offset, part, dma_sync_single_for_cpu);
		copied = copy_to_iter(buffer->data + offset, part, to);
		buffer_sync(dev, buffer, offset, part,
			    dma_sync_single_for_device);
		done += copied;
		if (copied < part)
			break;
	}
	return done;
}
