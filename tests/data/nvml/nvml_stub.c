/* A libnvidia-ml.so.1 that answers from a trace, so that the unmodified pynvml can be tested
 * without a card. NVML_TRACE names the trace file; nvmlInitWithFlags reads it afresh. Its lines:
 *
 *     # anything                            a comment
 *     init RESULT                           what nvmlInitWithFlags returns (0 if not given)
 *     cards N                               devices 0 to N-1 are cards
 *     instance DEVICE CARD                  DEVICE (N or above) is a MIG instance of CARD
 *     READING DEVICE FUNCTION RESULT [VALUES]
 *
 * READING is the look from which on the line counts: 0 when the card is opened, then 1, 2, ... A
 * look begins with nvmlDeviceGetMemoryInfo_v2. Of the lines for one function the last that counts
 * answers; FUNCTION * stands for all. DEVICE - is the driver. What no line names is answered with
 * 13, function not found. VALUES stand in the order of NVML's arguments or structures; processes
 * are pid:bytes, with pid:- where the bytes are not available.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_FOUND = 6, SMALL = 7, NO_FUNCTION = 13 };
enum { LINES = 16384, DEVICES = 16, DRIVER = -1, NONE = -2 };

typedef unsigned long long u64;
typedef struct { int reading, device, result; char function[64], values[256]; } Line;
typedef struct { int looks, parent; } Device;
typedef struct { unsigned pid; u64 used; unsigned gpu_instance, compute_instance; } Process;

static Line lines[LINES];
static Device devices[DEVICES];
static int line_count, cards, init_result, ready;

static int number(Device *device) { return device == NULL ? DRIVER : (int)(device - devices); }

/* The line that answers `function` for `device` now, or NULL. */
static Line *find(Device *device, const char *function) {
    int looks = device != NULL && device->looks > 0 ? device->looks : 0;
    Line *found = NULL;
    for (int i = 0; i < line_count; i++) {
        int named = !strcmp(lines[i].function, function) || !strcmp(lines[i].function, "*");
        if (named && lines[i].device == number(device) && lines[i].reading <= looks)
            found = &lines[i];
    }
    return found;
}

static int answer(Device *device, const char *function, const char **values) {
    if (!ready) return UNINITIALIZED;
    Line *line = find(device, function);
    *values = line == NULL ? "" : line->values;
    return line == NULL ? NO_FUNCTION : line->result;
}

static int integers(Device *device, const char *function, int count, u64 *out) {
    const char *values;
    int result = answer(device, function, &values);
    for (int i = 0; result == OK && i < count; i++) out[i] = strtoull(values, (char **)&values, 10);
    return result;
}

static int one(Device *device, const char *function, unsigned *out) {
    u64 value;
    int result = integers(device, function, 1, &value);
    if (result == OK) *out = (unsigned)value;
    return result;
}

static int text(Device *device, const char *function, char *out, unsigned size) {
    const char *values;
    int result = answer(device, function, &values);
    if (result == OK) snprintf(out, size, "%s", values);
    return result;
}

static int processes(Device *device, const char *function, unsigned *count, Process *out) {
    const char *values;
    int result = answer(device, function, &values);
    unsigned room = *count, found = 0;
    if (result != OK) return result;
    for (unsigned pid; sscanf(values, " %u:", &pid) == 1; found++) {
        values = strchr(values, ':') + 1;
        if (out != NULL && found < room) {
            out[found] = (Process){pid, *values == '-' ? ~0ULL : strtoull(values, NULL, 10), 0, 0};
        }
        values += strcspn(values, " ");
    }
    *count = found;
    return found > room ? SMALL : OK;
}

static void read_line(const char *text) {
    Line line = {0};
    int device, card;
    char name[16];
    if (sscanf(text, " init %d", &init_result) == 1 || sscanf(text, " cards %d", &cards) == 1) return;
    if (sscanf(text, " instance %d %d", &device, &card) == 2) {
        devices[device].parent = card;
    } else if (sscanf(text, "%d %15s %63s %d %255[^\n]", &line.reading, name, line.function,
                      &line.result, line.values) >= 4 && line_count < LINES) {
        line.device = *name == '-' ? DRIVER : atoi(name);
        lines[line_count++] = line;
    }
}

int nvmlInitWithFlags(unsigned flags) {
    char line[512];
    const char *path = getenv("NVML_TRACE");
    FILE *trace = path == NULL ? NULL : fopen(path, "r");
    (void)flags;
    line_count = cards = init_result = 0;
    for (int i = 0; i < DEVICES; i++) devices[i] = (Device){-1, NONE};
    while (trace != NULL && fgets(line, sizeof line, trace) != NULL) read_line(line);
    if (trace != NULL) fclose(trace);
    ready = init_result == OK;
    return init_result;
}

int nvmlShutdown(void) {
    int result = ready ? OK : UNINITIALIZED;
    ready = 0;
    return result;
}

const char *nvmlErrorString(int result) {
    return result == 999 ? "Unknown Error" : "an error that has no name";
}

int nvmlSystemGetDriverVersion(char *out, unsigned size) {
    return text(NULL, "nvmlSystemGetDriverVersion", out, size);
}

int nvmlSystemGetCudaDriverVersion_v2(unsigned *out) {
    return one(NULL, "nvmlSystemGetCudaDriverVersion_v2", out);
}

int nvmlSystemGetCudaDriverVersion(unsigned *out) {
    return one(NULL, "nvmlSystemGetCudaDriverVersion", out);
}

int nvmlDeviceGetCount_v2(unsigned *out) {
    Line *line = find(NULL, "nvmlDeviceGetCount_v2");
    *out = (unsigned)cards;
    return line == NULL ? OK : line->result;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **out) {
    Line *line = index < DEVICES ? find(&devices[index], "nvmlDeviceGetHandleByIndex_v2") : NULL;
    if (index >= (unsigned)cards) return INVALID;
    *out = &devices[index];
    return line == NULL ? OK : line->result;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Device **out) {
    for (int i = 0; i < DEVICES; i++) {
        Line *line = find(&devices[i], "nvmlDeviceGetUUID");
        if (line != NULL && !strcmp(line->values, uuid)) {
            *out = &devices[i];
            return OK;
        }
    }
    return NOT_FOUND;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device *instance, Device **out) {
    if (instance->parent == NONE) return INVALID;
    *out = &devices[instance->parent];
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(Device *device, unsigned *out) {
    Line *line = find(device, "nvmlDeviceGetMaxMigDeviceCount");
    *out = DEVICES;
    return line == NULL ? OK : line->result;
}

/* The instances of a card count from 0 in the order of their devices. */
int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, unsigned index, Device **out) {
    unsigned found = 0;
    for (int i = 0; i < DEVICES; i++) {
        if (devices[i].parent == number(device) && found++ == index) {
            *out = &devices[i];
            return OK;
        }
    }
    return NOT_FOUND;
}

int nvmlDeviceGetIndex(Device *device, unsigned *out) {
    *out = (unsigned)number(device);
    return OK;
}

int nvmlDeviceGetMigMode(Device *device, unsigned *current, unsigned *pending) {
    int result = one(device, "nvmlDeviceGetMigMode", current);
    *pending = *current;
    return result;
}

int nvmlDeviceGetName(Device *device, char *out, unsigned size) {
    return text(device, "nvmlDeviceGetName", out, size);
}

int nvmlDeviceGetUUID(Device *device, char *out, unsigned size) {
    return text(device, "nvmlDeviceGetUUID", out, size);
}

typedef struct { u64 total, free, used; } Memory;
int nvmlDeviceGetMemoryInfo(Device *device, Memory *out) {
    return integers(device, "nvmlDeviceGetMemoryInfo", 3, &out->total);
}

typedef struct { unsigned version; u64 total, reserved, free, used; } MemoryV2;
int nvmlDeviceGetMemoryInfo_v2(Device *device, MemoryV2 *out) {
    if (ready) device->looks++;
    if (out->version != (sizeof(MemoryV2) | 2 << 24)) return INVALID;
    return integers(device, "nvmlDeviceGetMemoryInfo_v2", 4, &out->total);
}

typedef struct { unsigned gpu, memory; } Rates;
int nvmlDeviceGetUtilizationRates(Device *device, Rates *out) {
    return one(device, "nvmlDeviceGetUtilizationRates", &out->gpu);
}

int nvmlDeviceGetPowerUsage(Device *device, unsigned *out) {
    return one(device, "nvmlDeviceGetPowerUsage", out);
}

int nvmlDeviceGetTotalEnergyConsumption(Device *device, u64 *out) {
    return integers(device, "nvmlDeviceGetTotalEnergyConsumption", 1, out);
}

/* VALUES: the clocks of graphics, SM and memory. */
int nvmlDeviceGetClockInfo(Device *device, unsigned type, unsigned *out) {
    u64 clocks[3];
    int result = type > 2 ? INVALID : integers(device, "nvmlDeviceGetClockInfo", 3, clocks);
    if (result == OK) *out = (unsigned)clocks[type];
    return result;
}

int nvmlDeviceGetTemperature(Device *device, unsigned sensor, unsigned *out) {
    return sensor != 0 ? INVALID : one(device, "nvmlDeviceGetTemperature", out);
}

int nvmlDeviceGetCurrentClocksEventReasons(Device *device, u64 *out) {
    return integers(device, "nvmlDeviceGetCurrentClocksEventReasons", 1, out);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, u64 *out) {
    return integers(device, "nvmlDeviceGetCurrentClocksThrottleReasons", 1, out);
}

int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned *count, Process *out) {
    return processes(device, "nvmlDeviceGetComputeRunningProcesses_v3", count, out);
}

int nvmlDeviceGetComputeRunningProcesses_v2(Device *device, unsigned *count, Process *out) {
    return processes(device, "nvmlDeviceGetComputeRunningProcesses_v2", count, out);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(Device *device, unsigned *count, Process *out) {
    return processes(device, "nvmlDeviceGetGraphicsRunningProcesses_v3", count, out);
}

int nvmlDeviceGetGraphicsRunningProcesses_v2(Device *device, unsigned *count, Process *out) {
    return processes(device, "nvmlDeviceGetGraphicsRunningProcesses_v2", count, out);
}
