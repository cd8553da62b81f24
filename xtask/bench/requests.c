/* QEMU TCG plugin: counts the guest's instructions and its notifications of virtio devices on PCI.
 *
 * A notification is a write of 16 bits to a device's notification register. With `server=PID` the processor stands still
 * after each until that process, which serves the device, has nothing left to do, and QEMU has passed on its interrupt.
 * So no guest waits, in whatever way it would, and the count is of the work alone: standing still costs no instructions.
 *
 * Logs `bench WHAT INSTRUCTIONS REPEATED NOTIFICATIONS` with the counts so far:
 *   mark    at each `out %al, $0xf1`, which nothing but the program that is measured executes
 *   total   at the end
 * REPEATED are the instructions that are iterations with a `rep` prefix, mostly copies; they are in INSTRUCTIONS too.
 * The interface's source: QEMU, include/qemu/qemu-plugin.h; see icount.c.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;
struct qemu_info_t;
enum { CB_NO_REGS = 0, INLINE_ADD_U64 = 0, MEM_W = 2 };
typedef void (*exec_cb)(unsigned cpu, void *data);
typedef void (*mem_cb)(unsigned cpu, qemu_plugin_meminfo_t, uint64_t address, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, exec_cb, int, void *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *, uint64_t);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, mem_cb, int, int, void *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(qemu_plugin_meminfo_t, uint64_t);
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *);
const char *qemu_plugin_hwaddr_device_name(const struct qemu_plugin_hwaddr *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
void qemu_plugin_outs(const char *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

static uint64_t count, repeated, notifications;
static unsigned long server;

/* Whether a thread sleeps, as /proc says: what the device's notification wakes is runnable at once. */
static bool sleeps(const char *path) {
    char text[256], *state;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0)
        close(file);
    if (len <= 0)
        return true; /* It has ended. */
    text[len] = 0;
    state = strrchr(text, ')'); /* The name before it is in parentheses. */
    return state && state[1] == ' ' && state[2] == 'S';
}

static bool server_sleeps(void) {
    char path[300];
    bool all = true;
    DIR *threads;
    struct dirent *thread;
    snprintf(path, sizeof path, "/proc/%lu/task", server);
    threads = opendir(path);
    while (threads && all && (thread = readdir(threads)))
        if (thread->d_name[0] != '.') {
            snprintf(path, sizeof path, "/proc/%lu/task/%s/stat", server, thread->d_name);
            all = sleeps(path);
        }
    if (threads)
        closedir(threads);
    return all;
}

/* QEMU's first thread raises the interrupts. One look is not enough: a thread may sleep for another's lock. */
static void wait_for_server(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%ld/stat", (long)getpid());
    for (int quiet = 0; quiet < 3; usleep(20))
        quiet = server_sleeps() && sleeps(path) ? quiet + 1 : 0;
}

static void say(const char *what) {
    char line[96];
    snprintf(line, sizeof line, "bench %s %llu %llu %llu\n", what, (unsigned long long)count,
             (unsigned long long)repeated, (unsigned long long)notifications);
    qemu_plugin_outs(line);
}

static void on_mark(unsigned cpu, void *data) {
    (void)cpu;
    (void)data;
    say("mark");
}

static void on_write(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data) {
    struct qemu_plugin_hwaddr *place;
    const char *name;
    (void)cpu;
    (void)data;
    if (qemu_plugin_mem_size_shift(info) != 1)
        return;
    place = qemu_plugin_get_hwaddr(info, address);
    if (!place || !qemu_plugin_hwaddr_is_io(place))
        return;
    name = qemu_plugin_hwaddr_device_name(place);
    if (!name || !strstr(name, "virtio-pci-notify"))
        return;
    notifications++;
    if (server)
        wait_for_server();
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
        const unsigned char *byte = qemu_plugin_insn_data(insn);
        size_t size = qemu_plugin_insn_size(insn);
        bool rep = false;

        qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, &count, 1);
        qemu_plugin_register_vcpu_mem_cb(insn, on_write, CB_NO_REGS, MEM_W, NULL);
        if (size == 2 && byte[0] == 0xe6 && byte[1] == 0xf1)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, CB_NO_REGS, NULL);
        for (; size > 1 && (*byte == 0x66 || *byte == 0xf2 || *byte == 0xf3 || (*byte & 0xf0) == 0x40); byte++, size--)
            rep |= *byte == 0xf2 || *byte == 0xf3;
        /* MOVS, CMPS, STOS, LODS, SCAS */
        if (rep && size == 1 && *byte >= 0xa4 && *byte <= 0xaf && (*byte & 0xfe) != 0xa8)
            qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, &repeated, 1);
    }
}

static void finish(qemu_plugin_id_t id, void *data) {
    (void)id;
    (void)data;
    say("total");
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++)
        if (strncmp(argv[i], "server=", 7) == 0)
            server = strtoul(argv[i] + 7, NULL, 10);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, finish, NULL);
    return 0;
}
