/* switch_x86_64.S: the stack switch, System V ABI.
 *
 * void rm_arch_switch(void **save, void *to, void *fresh)
 *     Push what the ABI lets a callee keep, store the stack pointer in *save, and take the stack `to`.
 *     Then, if fresh is NULL, `to` was saved by the same function: pop the same and return there. Else
 *     `to` is the top of a new stack, 16-aligned: call rm_g_start(fresh) on it, for good.
 *
 * It returns by ret, and has exactly one call site (park.c): the processor's return stack then predicts
 * the switch and, where both sides wait in the same way, the returns above it too. Measured on Intel
 * Sapphire Rapids: a ping-pong message 23 ns with ret, 43 ns with pop and jmp, which leaves the return stack
 * off by one. The FPU control words are left alone (47-52 ns on some CPUs; see ramet.h).
 *
 * The return address of the new stack's first frame is undefined, so that unwinders stop there.
 */
        .text
        .globl  rm_arch_switch
        .hidden rm_arch_switch
        .type   rm_arch_switch, @function
        .p2align 4
rm_arch_switch:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r15, 0
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        testq   %rdx, %rdx
        jnz     rm_arch_entry
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbp
        ret
        .cfi_endproc
        .size   rm_arch_switch, .-rm_arch_switch

        .hidden rm_g_start
        .type   rm_arch_entry, @function
        .p2align 4
rm_arch_entry:
        .cfi_startproc
        .cfi_undefined rip
        movq    %rdx, %rdi
        xorl    %ebp, %ebp
        call    rm_g_start
        ud2
        .cfi_endproc
        .size   rm_arch_entry, .-rm_arch_entry

        .section .note.GNU-stack,"",@progbits
