/*
 * context_aarch64.S - machine_switch() for 64-bit ARM and its procedure call standard: what a called
 * function must keep (x19 to x30, the low halves of v8 to v15, and the control bits of the
 * floating-point unit) goes to the old stack, and comes back from the new one. Everything else the
 * caller has saved or given up already; x18 is the platform's.
 *
 * The floating-point control word is only loaded when it differs: writing it is slow on some
 * processors. There is no .note.gnu.property: what is linked with this must not be taken for code
 * that marks each place an indirect branch may go to.
 *
 * Failure modes: none.
 */

/* A stack that was left, from its stack pointer up:
 *	0 x19 ... 72 x28, 80 x29 (frame pointer), 88 x30 (where to go on), 96 d8 ... 152 d15, 160 fpcr
 */
#define FRAME 176

	.section .text.hot,"ax",%progbits

/* void machine_switch(struct context *from, struct context *to); sp is their first field */
	.globl	machine_switch
	.hidden	machine_switch
	.type	machine_switch, %function
	.p2align 4
machine_switch:
	.cfi_startproc
	sub	sp, sp, #FRAME
	.cfi_def_cfa_offset FRAME
	stp	x19, x20, [sp, #0]
	stp	x21, x22, [sp, #16]
	stp	x23, x24, [sp, #32]
	stp	x25, x26, [sp, #48]
	stp	x27, x28, [sp, #64]
	stp	x29, x30, [sp, #80]
	stp	d8, d9, [sp, #96]
	stp	d10, d11, [sp, #112]
	stp	d12, d13, [sp, #128]
	stp	d14, d15, [sp, #144]
	mrs	x9, fpcr
	str	x9, [sp, #160]
	.cfi_rel_offset x19, 0
	.cfi_rel_offset x20, 8
	.cfi_rel_offset x21, 16
	.cfi_rel_offset x22, 24
	.cfi_rel_offset x23, 32
	.cfi_rel_offset x24, 40
	.cfi_rel_offset x25, 48
	.cfi_rel_offset x26, 56
	.cfi_rel_offset x27, 64
	.cfi_rel_offset x28, 72
	.cfi_rel_offset x29, 80
	.cfi_rel_offset x30, 88
	.cfi_rel_offset d8, 96
	.cfi_rel_offset d9, 104
	.cfi_rel_offset d10, 112
	.cfi_rel_offset d11, 120
	.cfi_rel_offset d12, 128
	.cfi_rel_offset d13, 136
	.cfi_rel_offset d14, 144
	.cfi_rel_offset d15, 152

	/* Both stacks look the same from here up, so what the unwinder was told stays true. */
	mov	x10, sp
	str	x10, [x0]
	ldr	x10, [x1]
	mov	sp, x10

	ldr	x10, [sp, #160]
	cmp	x9, x10
	b.eq	1f
	msr	fpcr, x10
1:	ldp	x19, x20, [sp, #0]
	ldp	x21, x22, [sp, #16]
	ldp	x23, x24, [sp, #32]
	ldp	x25, x26, [sp, #48]
	ldp	x27, x28, [sp, #64]
	ldp	x29, x30, [sp, #80]
	ldp	d8, d9, [sp, #96]
	ldp	d10, d11, [sp, #112]
	ldp	d12, d13, [sp, #128]
	ldp	d14, d15, [sp, #144]
	add	sp, sp, #FRAME
	.cfi_def_cfa_offset 0
	.cfi_restore x19
	.cfi_restore x20
	.cfi_restore x21
	.cfi_restore x22
	.cfi_restore x23
	.cfi_restore x24
	.cfi_restore x25
	.cfi_restore x26
	.cfi_restore x27
	.cfi_restore x28
	.cfi_restore x29
	.cfi_restore x30
	.cfi_restore d8
	.cfi_restore d9
	.cfi_restore d10
	.cfi_restore d11
	.cfi_restore d12
	.cfi_restore d13
	.cfi_restore d14
	.cfi_restore d15
	ret
	.cfi_endproc
	.size	machine_switch, . - machine_switch

/*
 * void *machine_frame(char *top, void (*entry)(void *), void *arg): what machine_switch() would have
 * left on a stack just before entry(arg) is called from begin. The floating-point control word is
 * that of the creator.
 */
	.globl	machine_frame
	.hidden	machine_frame
	.type	machine_frame, %function
	.p2align 4
machine_frame:
	.cfi_startproc
	sub	x0, x0, #FRAME
	stp	x1, x2, [x0, #0]
	stp	xzr, xzr, [x0, #16]
	stp	xzr, xzr, [x0, #32]
	stp	xzr, xzr, [x0, #48]
	stp	xzr, xzr, [x0, #64]
	adr	x9, .Lstart
	stp	xzr, x9, [x0, #80]
	stp	xzr, xzr, [x0, #96]
	stp	xzr, xzr, [x0, #112]
	stp	xzr, xzr, [x0, #128]
	stp	xzr, xzr, [x0, #144]
	mrs	x9, fpcr
	stp	x9, xzr, [x0, #160]
	ret
	.cfi_endproc
	.size	machine_frame, . - machine_frame

/* Where a context begins, the stack pointer at top. Nobody called it: backtraces end here. An
 * unwinder takes each return address for one behind a call and looks at what is before it, so
 * something must be. */
	.type	begin, %function
	.p2align 4
begin:
	.cfi_startproc
	.cfi_undefined x30
	nop
.Lstart:
	mov	x0, x20
	blr	x19
	brk	#0
	.cfi_endproc
	.size	begin, . - begin

	.section .note.GNU-stack, "", %progbits
