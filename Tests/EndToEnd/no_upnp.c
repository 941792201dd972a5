// A libgupnp-igd-1.0.so.4 that finds no router: what simple_whip_client.py puts in front of Debian's.
//
// Debian 12's whip-client cannot run as packaged. It is linked with libsoup 2.4, while webrtcbin loads libnice, which
// needs libgupnp-igd, libgupnp 1.6 and with it libsoup 3, whose constructor ends the process: "Using libsoup2 and
// libsoup3 in the same process is not supported". Without UPnP nothing needs libsoup 3. These are all the functions
// that libnice calls. No headers, so that no development packages are needed.

typedef unsigned long GType;

#define G_TYPE_OBJECT ((GType)(20 << 2)) // gobject/gtype.h

extern void *g_object_new(GType type, const char *first_property, ...);

GType gupnp_simple_igd_get_type(void) { return G_TYPE_OBJECT; }

void *gupnp_simple_igd_thread_new(void) { return g_object_new(G_TYPE_OBJECT, 0); }

void gupnp_simple_igd_add_port(void) {}

void gupnp_simple_igd_remove_port_local(void) {}
