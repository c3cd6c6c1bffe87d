// SPDX-License-Identifier: GPL-2.0
/* RAPL's registers, made up: each domain's counter advances by its `milliwatts`. Follows intel_rapl_common.c in one file. */
#include <linux/ktime.h>

static unsigned int milliwatts[5] = { 10000, 6000, 0, 3000, 15000 }; /* package, core, uncore, dram, psys */
module_param_array(milliwatts, uint, NULL, 0644);
static unsigned int start_raw = 0xfffff000u; /* near the wrap */
module_param(start_raw, uint, 0644);

static unsigned int stopped_ms; /* not 0: every counter stands where it was so long after the start */
module_param(stopped_ms, uint, 0644);

#define FAKE_UNIT 0x606
#define FAKE_UNIT_VALUE 0x000a0e03 /* 2^-14 J, as most of Intel's processors */
#define FAKE_STATUS 0x1000
#define FAKE_LIMIT 0x2000

static ktime_t fake_start;
static struct rapl_package *fake_package;

static u32 fake_counter(int domain)
{
	u64 ms = stopped_ms ? stopped_ms : ktime_ms_delta(ktime_get(), fake_start);

	return start_raw + (u32)div_u64(ms * milliwatts[domain] * 16384ull, 1000000);
}

static int fake_read(int cpu, struct reg_action *ra)
{
	if (ra->reg == FAKE_UNIT)
		ra->value = FAKE_UNIT_VALUE;
	else if ((ra->reg & 0xff00) == FAKE_STATUS)
		ra->value = milliwatts[ra->reg & 0xff] ? fake_counter(ra->reg & 0xff) : 0;
	else
		ra->value = 0;
	ra->value &= ra->mask;
	return 0;
}

static int fake_write(int cpu, struct reg_action *ra)
{
	return 0;
}

static struct rapl_if_priv fake_priv = { .reg_unit = FAKE_UNIT, .read_raw = fake_read, .write_raw = fake_write };

static int __init fake_init(void)
{
	int domain;

	rapl_defaults = (struct rapl_defaults *)&rapl_defaults_core;
	for (domain = 0; domain < RAPL_DOMAIN_MAX; domain++) {
		fake_priv.regs[domain][RAPL_DOMAIN_REG_STATUS] = FAKE_STATUS + domain;
		fake_priv.regs[domain][RAPL_DOMAIN_REG_LIMIT] = FAKE_LIMIT + domain;
		fake_priv.limits[domain] = 1;
	}
	fake_start = ktime_get();
	fake_priv.control_type = powercap_register_control_type(NULL, "intel-rapl", NULL);
	if (IS_ERR(fake_priv.control_type))
		return PTR_ERR(fake_priv.control_type);
	fake_package = rapl_add_package(0, &fake_priv);
	if (IS_ERR(fake_package)) {
		powercap_unregister_control_type(fake_priv.control_type);
		return PTR_ERR(fake_package);
	}
	return 0;
}
module_init(fake_init);
MODULE_LICENSE("GPL");
