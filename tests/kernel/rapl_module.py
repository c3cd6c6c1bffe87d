"""Makes a module of Linux's own RAPL code: without what a real x86 alone has, with registers that are made up.

Model-specific registers and tables of processors do not exist in User-mode Linux. All that is judged here is left: units,
wrap-around, zones and their names are `intel_rapl_common.c` as it is.
"""

from __future__ import annotations

import re

#: What stands in for a real x86.
SHIM = """
#undef boot_cpu_has
#define boot_cpu_has(x) 0
#define X86_FEATURE_PTS 0
#define X86_FEATURE_PLN 0
#define MSR_IA32_PACKAGE_THERM_INTERRUPT 0
#define PACKAGE_THERM_INT_PLN_ENABLE 0
#undef topology_logical_die_id
#undef topology_max_die_per_package
#undef topology_physical_package_id
#undef topology_die_id
#define topology_logical_die_id(c) 0
#define topology_max_die_per_package() 1
#define topology_physical_package_id(c) 0
#define topology_die_id(c) 0
#define rdmsr_safe(m, l, h) ((void)(*(l) = *(h) = 0), 0)
#define wrmsr_safe(m, l, h) ((void)(l), (void)(h), 0)
#define BT_MBI_UNIT_PMC 0
#define MBI_CR_READ 0
#define MBI_CR_WRITE 0
static inline int iosf_mbi_read(u8 a, u8 b, u32 c, u32 *d) { *d = 0; return 0; }
static inline int iosf_mbi_write(u8 a, u8 b, u32 c, u32 d) { return 0; }
"""
_FIRST_LINE = "/* bitmasks for RAPL MSRs"


def module_source(common: str, registers: str) -> str:
    """The module's C text, of `intel_rapl_common.c` and of the file with the made-up registers."""
    common = re.sub(r"#include <asm/(iosf_mbi|cpu_device_id|intel-family)\.h>\n", "", common)
    table = r"static const struct x86_cpu_id rapl_ids\[\].*?\n};\nMODULE_DEVICE_TABLE\(x86cpu, rapl_ids\);\n"
    common = re.sub(table, "", common, flags=re.DOTALL)
    common = re.sub(r"static int __init rapl_init\(void\).*", "", common, flags=re.DOTALL)
    place = common.index(_FIRST_LINE)
    return f"{common[:place]}{SHIM}{common[place:]}\n{registers}"
