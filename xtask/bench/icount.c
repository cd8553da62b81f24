/* QEMU TCG plugin: counts the guest's instructions exactly, the same on every run with `-icount`.
 *
 * Logs, each with the count so far:  entry   first instruction at each address given as `mark=0x...`
 *                                    device  every access to a device (with its number of accesses so far)
 *                                    console the same if it writes a byte to the console
 *                                    total   at the end
 * On a PC, devices are ports, and the console is the only one that is written to by string output. Elsewhere, with
 * `console=0x...`, devices are memory, and the console is that address.
 * With `live=FILE` the count stands in that file, for who reads it meanwhile, and nothing but the total is logged.
 * A `rep` prefix counts one per iteration, as QEMU executes it. Source of the interface: QEMU, include/qemu/qemu-plugin.h,
 * of which only what is used is declared here, because Debian's packages do not carry the header.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info_t;
struct qemu_plugin_hwaddr;
typedef uint32_t qemu_plugin_meminfo_t;
enum { CB_NO_REGS = 0, INLINE_ADD_U64 = 0, MEM_RW = 3 };
typedef void (*exec_cb)(unsigned cpu, void *data);
typedef void (*mem_cb)(unsigned cpu, qemu_plugin_meminfo_t, uint64_t vaddr, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, exec_cb, int, void *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *, uint64_t);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, mem_cb, int, int, void *);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(qemu_plugin_meminfo_t, uint64_t vaddr);
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *);
uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void qemu_plugin_outs(const char *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

enum { MAX_MARKS = 8 };
static uint64_t own, *count = &own;
static uint64_t accesses, marks[MAX_MARKS];
static uint64_t console; /* its address; 0 on a PC */
static bool seen[MAX_MARKS];
static int mark_count;

static void say(const char *what, uint64_t where) {
    char line[96];
    snprintf(line, sizeof line, "bench %s %llx %llu %llu\n", what, (unsigned long long)where,
             (unsigned long long)*count, (unsigned long long)accesses);
    qemu_plugin_outs(line);
}

static void on_mark(unsigned cpu, void *data) {
    int mark = (int)(intptr_t)data;
    (void)cpu;
    if (!seen[mark]) {
        seen[mark] = true;
        say("entry", marks[mark]);
    }
}

static void on_access(uint64_t where, bool to_console) {
    accesses++;
    say(to_console ? "console" : "device", where);
}

static void on_port(unsigned cpu, void *data) {
    (void)cpu;
    on_access((uint64_t)(uintptr_t)data, false);
}

static void on_string_output(unsigned cpu, void *data) {
    (void)cpu;
    on_access((uint64_t)(uintptr_t)data, true);
}

static void on_memory(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t vaddr, void *data) {
    struct qemu_plugin_hwaddr *place = qemu_plugin_get_hwaddr(info, vaddr);
    (void)cpu;
    if (place && qemu_plugin_hwaddr_is_io(place))
        on_access((uint64_t)(uintptr_t)data,
                  qemu_plugin_mem_is_store(info) && qemu_plugin_hwaddr_phys_addr(place) == console);
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
        const unsigned char *byte = qemu_plugin_insn_data(insn);
        size_t size = qemu_plugin_insn_size(insn);
        void *address = (void *)(uintptr_t)qemu_plugin_insn_vaddr(insn);

        qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, count, 1);
        if (count != &own)
            continue;
        for (int mark = 0; mark < mark_count; mark++)
            if ((uint64_t)(uintptr_t)address == marks[mark])
                qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, CB_NO_REGS, (void *)(intptr_t)mark);
        if (console) {
            qemu_plugin_register_vcpu_mem_cb(insn, on_memory, CB_NO_REGS, MEM_RW, address);
            continue;
        }
        while (size > 1 && (*byte == 0x66 || *byte == 0x67 || *byte == 0xf2 || *byte == 0xf3)) {
            byte++;
            size--;
        }
        switch (*byte) {
        case 0x6e: case 0x6f: /* OUTS */
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_string_output, CB_NO_REGS, address);
            break;
        case 0x6c: case 0x6d:                       /* INS */
        case 0xe4: case 0xe5: case 0xe6: case 0xe7: /* IN, OUT with the port in the instruction */
        case 0xec: case 0xed: case 0xee: case 0xef: /* IN, OUT with the port in DX */
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_port, CB_NO_REGS, address);
            break;
        }
    }
}

static void finish(qemu_plugin_id_t id, void *data) {
    (void)id;
    (void)data;
    say("total", 0);
}

/* Counts in a file. */
static bool keep_in(const char *path) {
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    void *place = MAP_FAILED;
    if (file >= 0 && !ftruncate(file, sizeof own))
        place = mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0)
        close(file);
    if (place == MAP_FAILED) {
        perror(path);
        return false;
    }
    count = place;
    return true;
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "mark=", 5) == 0 && mark_count < MAX_MARKS)
            marks[mark_count++] = strtoull(argv[i] + 5, NULL, 0);
        if (strncmp(argv[i], "console=", 8) == 0)
            console = strtoull(argv[i] + 8, NULL, 0);
        if (strncmp(argv[i], "live=", 5) == 0 && !keep_in(argv[i] + 5))
            return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, finish, NULL);
    return 0;
}
