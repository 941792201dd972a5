// RTSP URLs of streams, and commands of players that are no browsers.

/** In single quotes a POSIX shell changes nothing. */
export const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;

const RETRY_MS = 5000;
const ANSWER_LIMIT_MS = 4000;
const DEFAULT_PORT = { rtsp: 554, rtsps: 322 };

/** Ports of the server by scheme; null while they are not known. */
let ports = null;

/** The server's RTSP ports, asked for until it answers. */
export const rtspKnown = (async () => {
    for (;;) {
        try {
            const response = await fetch(new URL("api/addresses", document.baseURI), {
                cache: "no-store", signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
            });
            // An older server does not have it; then there is no RTSP to show.
            const answer = response.ok ? await response.json() : {};
            ports = { rtsp: answer.rtspPort ?? null, rtsps: answer.rtspTlsPort ?? null };
            return;
        } catch {
            await new Promise(resolve => setTimeout(resolve, RETRY_MS));
        }
    }
})();

/** Where a stream is played by RTSP; "" where it cannot be, or it is not known yet. */
export function rtspURL(name) {
    const scheme = ports?.rtsp ? "rtsp" : ports?.rtsps ? "rtsps" : null;
    if (!scheme) return "";
    const port = ports[scheme] === DEFAULT_PORT[scheme] ? "" : `:${ports[scheme]}`;
    return `${scheme}://${location.hostname}${port}/${encodeURIComponent(name)}`;
}

export const ffplayCommand = name => `ffplay -fflags nobuffer -rtsp_transport tcp ${quoted(rtspURL(name))}`;
export const vlcCommand = name => `vlc --rtsp-tcp --network-caching=200 ${quoted(rtspURL(name))}`;
