/*
 * context_x86_64.S - machine_switch() for x86-64 and the System V ABI: what a called function must
 * keep (rbx, rbp, r12 to r15, and the control bits of the two floating-point units) goes to the old
 * stack, and comes back from the new one. Everything else the caller has saved or given up already.
 *
 * The floating-point control words cost nothing that can be measured, as they are only loaded when
 * they differ; without them one handler's fesetround(3) would become everybody's.
 * Going on by "jmp" rather than "ret" takes half the time: a processor predicts that a "ret" goes
 * where the last "call" came from, which here is wrong as often as not.
 * There is no .note.gnu.property: code that changes stacks does not fit a shadow stack, and what is
 * linked with this must not be taken for code that does.
 *
 * Failure modes: none.
 */

/* A stack that was left, from its stack pointer up:
 *	0 mxcsr, 4 x87 control word, 8 r15, 16 r14, 24 r13, 32 r12, 40 rbx, 48 rbp, 56 where to go on
 */
#define FRAME 64

	.section .text.hot,"ax",@progbits

/* void machine_switch(struct context *from, struct context *to); sp is their first field */
	.globl	machine_switch
	.hidden	machine_switch
	.type	machine_switch, @function
	.p2align 4
machine_switch:
	.cfi_startproc
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r12, 0
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r13, 0
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r14, 0
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r15, 0
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	movl	(%rsp), %eax
	movzwl	4(%rsp), %ecx

	/* Both stacks look the same from here up, so what the unwinder was told stays true. */
	movq	%rsp, (%rdi)
	movq	(%rsi), %rsp

	cmpl	(%rsp), %eax
	je	1f
	ldmxcsr	(%rsp)
1:	cmpw	4(%rsp), %cx
	je	2f
	fldcw	4(%rsp)
2:	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	popq	%r15
	.cfi_adjust_cfa_offset -8
	.cfi_restore r15
	popq	%r14
	.cfi_adjust_cfa_offset -8
	.cfi_restore r14
	popq	%r13
	.cfi_adjust_cfa_offset -8
	.cfi_restore r13
	popq	%r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore r12
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbp
	popq	%rcx
	.cfi_adjust_cfa_offset -8
	.cfi_register rip, rcx
	jmpq	*%rcx
	.cfi_endproc
	.size	machine_switch, . - machine_switch

/*
 * void *machine_frame(char *top, void (*entry)(void *), void *arg): what machine_switch() would have
 * left on a stack just before entry(arg) is called from begin. The floating-point control words are
 * those of the creator.
 */
	.globl	machine_frame
	.hidden	machine_frame
	.type	machine_frame, @function
	.p2align 4
machine_frame:
	.cfi_startproc
	leaq	-FRAME(%rdi), %rax
	stmxcsr	(%rax)
	movl	$0, 4(%rax)
	fnstcw	4(%rax)
	movq	$0, 8(%rax)
	movq	$0, 16(%rax)
	movq	%rdx, 24(%rax)
	movq	%rsi, 32(%rax)
	movq	$0, 40(%rax)
	movq	$0, 48(%rax)
	leaq	.Lstart(%rip), %rcx
	movq	%rcx, 56(%rax)
	ret
	.cfi_endproc
	.size	machine_frame, . - machine_frame

/* Where a context begins, the stack pointer at top. Nobody called it: backtraces end here. An
 * unwinder takes each return address for one behind a call and looks at what is before it, so
 * something must be. */
	.type	begin, @function
	.p2align 4
begin:
	.cfi_startproc
	.cfi_undefined rip
	nop
.Lstart:
	movq	%r13, %rdi
	callq	*%r12
	ud2
	.cfi_endproc
	.size	begin, . - begin

	.section .note.GNU-stack, "", @progbits
