/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions of virtines, in 32-bit protected mode, flat, without paging, in
 * ring 0. Each lies at address 0 of a memory and may lie anywhere in this file:
 * no absolute address of code. At entry
 *
 *   eax  the argument
 *   ecx  bytes of memory
 *   esp  LANECALL_VIRTINE_STACK
 *
 * and every other register is 0. A function ends by hlt, its result in eax, and
 * never comes back from that. What each does is said by its model in
 * virtine_function.cc, which has to do the same.
 */
#include "lanecall/virtine_function_abi.h"

.macro function name
	.balign 16
	.globl lanecall_\name, lanecall_\name\()_end
lanecall_\name:
.endm

.macro end_function name
	hlt
lanecall_\name\()_end:
.endm

	.section .rodata
	.code32

/* The eax-th Fibonacci number, modulo 2^32. */
function fibonacci
	call	fib
	hlt

fib:	cmp	$2, %eax
	jb	1f
	push	%ebx
	mov	%eax, %ebx
	dec	%eax
	call	fib
	xchg	%eax, %ebx
	sub	$2, %eax
	call	fib
	add	%ebx, %eax
	pop	%ebx
1:	ret
lanecall_fibonacci_end:

/* How often the secret is found in registers and memory; then it is left all
 * over both. The secret's two halves never lie together in the code. */
function secret_hunter
	cmp	$LANECALL_SECRET_LOW, %ebx
	je	1f
	cmp	$LANECALL_SECRET_LOW, %edx
	je	1f
	cmp	$LANECALL_SECRET_LOW, %esi
	je	1f
	cmp	$LANECALL_SECRET_LOW, %edi
	je	1f
	cmp	$LANECALL_SECRET_LOW, %ebp
	je	1f
	mov	%cr2, %edx
	cmp	$LANECALL_SECRET_LOW, %edx
	je	1f
	mov	%dr0, %edx
	cmp	$LANECALL_SECRET_LOW, %edx
	je	1f
	movd	%xmm0, %edx
	cmp	$LANECALL_SECRET_LOW, %edx
	je	1f
	xor	%ebp, %ebp
	jmp	2f
1:	mov	$1, %ebp

2:	xor	%edi, %edi
3:	cmpl	$LANECALL_SECRET_LOW, (%edi)
	jne	4f
	cmpl	$LANECALL_SECRET_HIGH, 4(%edi)
	jne	4f
	inc	%ebp
4:	add	$8, %edi
	cmp	%ecx, %edi
	jb	3b

	mov	$LANECALL_SECRET_LOW, %ebx
	mov	$LANECALL_SECRET_HIGH, %edx
	and	$(LANECALL_PAGE_BYTES - 8), %eax
	lea	LANECALL_PAGE_BYTES(%eax), %edi
5:	mov	%ebx, (%edi)
	mov	%edx, 4(%edi)
	add	$LANECALL_SECRET_STEP, %edi
	cmp	%ecx, %edi
	jb	5b
	mov	%ebx, -8(%ecx)
	mov	%edx, -4(%ecx)

	mov	%ebx, %edx
	mov	%ebx, %esi
	mov	%ebx, %edi
	mov	%ebx, %cr2
	mov	%ebx, %dr0
	movd	%ebx, %xmm0
	mov	%ebp, %eax
	mov	%ebx, %ebp
end_function secret_hunter

/* Writes in eax pages of the memory, evenly spread; all of them if eax is
 * more. The answer is how many they were. */
function page_writer
	mov	%ecx, %ebx
	shr	$LANECALL_PAGE_SHIFT, %ebx
	cmp	%ebx, %eax
	jbe	1f
	mov	%ebx, %eax
1:
	mov	$(LANECALL_PAGE_BYTES - 8), %edi
2:	cmp	%ecx, %edi
	jae	4f
	add	%eax, %esi
	cmp	%ebx, %esi
	jb	3f
	sub	%ebx, %esi
	notl	(%edi)
3:	add	$LANECALL_PAGE_BYTES, %edi
	jmp	2b
4:
end_function page_writer

	.section .note.GNU-stack, "", @progbits
