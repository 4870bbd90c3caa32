/* switch_aarch64.S: the stack switch, AAPCS64. See switch_x86_64.S for the contract; here a saved frame
 * is 160 bytes: x19-x30, d8-d15. */
        .text
        .globl  rm_arch_switch
        .hidden rm_arch_switch
        .type   rm_arch_switch, %function
        .p2align 4
rm_arch_switch:
        .cfi_startproc
        sub     sp, sp, #160
        .cfi_def_cfa_offset 160
        stp     x19, x20, [sp, #0]
        stp     x21, x22, [sp, #16]
        stp     x23, x24, [sp, #32]
        stp     x25, x26, [sp, #48]
        stp     x27, x28, [sp, #64]
        stp     x29, x30, [sp, #80]
        .cfi_offset x29, -80
        .cfi_offset x30, -72
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        mov     x9, sp
        str     x9, [x0]
        mov     sp, x1
        cbnz    x2, rm_arch_entry
        ldp     x19, x20, [sp, #0]
        ldp     x21, x22, [sp, #16]
        ldp     x23, x24, [sp, #32]
        ldp     x25, x26, [sp, #48]
        ldp     x27, x28, [sp, #64]
        ldp     x29, x30, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        add     sp, sp, #160
        .cfi_def_cfa_offset 0
        ret
        .cfi_endproc
        .size   rm_arch_switch, .-rm_arch_switch

        .hidden rm_g_start
        .type   rm_arch_entry, %function
        .p2align 4
rm_arch_entry:
        .cfi_startproc
        .cfi_undefined x30
        mov     x0, x2
        mov     x29, xzr
        bl      rm_g_start
        brk     #1
        .cfi_endproc
        .size   rm_arch_entry, .-rm_arch_entry

        .section .note.GNU-stack,"",%progbits
