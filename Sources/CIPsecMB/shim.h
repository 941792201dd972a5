#pragma once
#if defined(__x86_64__)
#include <intel-ipsec-mb.h>
#endif
