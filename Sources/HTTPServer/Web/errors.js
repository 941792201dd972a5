// Failures as people can use them: what happened, what the server said, what to do now.

/**
 * `transient`: trying the same again may help. `notReady`: the stream exists and will have media in a moment.
 * `retryAfterMs`: when the server asked us to come back. `status`: of HTTP, 0 when there was none.
 */
export class Problem extends Error {
    constructor(title, options = {}) {
        const { detail = "", remedy = "", status = 0, transient = false, notReady = false, retryAfterMs = null } = options;
        super(detail ? `${title} ${detail}` : title);
        Object.assign(this, { title, detail, remedy, status, transient, notReady, retryAfterMs });
    }
}

/** Turns an unsuccessful answer of WHIP (`publishing`) or WHEP into a Problem; reads RFC 9457 problem details. */
export async function problemOfResponse(response, { publishing, name }) {
    const body = await readProblemDetails(response);
    // A publisher that has just claimed its name sends no media yet.
    const notReady = !publishing && /not ready/i.test(body.detail ?? body.title ?? "");
    const noCodec = /no common codec/i.test(body.detail ?? "");
    const status = noCodec ? 406 : response.status;
    const [title, remedy] = notReady ? NOT_READY : explainStatus(status, publishing, name);
    // What the server advises is for any client; about codecs and tokens this page knows its own buttons better.
    const isOurs = status === 401 || status === 406;
    const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
    return new Problem(title, {
        detail: body.detail ?? body.title ?? response.statusText,
        remedy: isOurs ? remedy : body.remedy ?? remedy,
        status: response.status,
        transient: notReady || response.status === 429 || response.status >= 500,
        notReady,
        retryAfterMs: Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : null,
    });
}

async function readProblemDetails(response) {
    const text = await response.text().catch(() => "");
    if (/\bjson\b/.test(response.headers.get("Content-Type") ?? "")) {
        try {
            const body = JSON.parse(text);
            const words = value => (typeof value === "string" && value !== "" ? value : undefined);
            return { title: words(body?.title), detail: words(body?.detail), remedy: words(body?.remedy) };
        } catch {
            // Not JSON after all: shown as the text that it is.
        }
    }
    const plain = text.trim();
    return plain && plain.length < 300 && !plain.startsWith("<") ? { detail: plain } : {};
}

/** Whatever was thrown, as something to show. */
export function asProblem(error) {
    if (error instanceof Problem) return error;
    return new Problem("Something unexpected happened.", {
        detail: String(error?.message ?? error), remedy: "Reload the page and try again.",
    });
}

const NOT_READY = ["The stream is not ready yet.",
    "Its publisher has connected but sent no media so far. Try again in a moment."];

function explainStatus(status, publishing, name) {
    switch (status) {
        case 400:
        case 415:
        case 422:
            return ["The server could not read this browser’s offer.",
                "Try another codec or another browser. If it stays, please report it with the text above."];
        case 401:
            return ["The server asks for an access token.",
                "Enter the token you were given under “More settings” and try again."];
        case 403:
            return [publishing ? "You may not publish under this name." : "You may not play this stream.",
                "Check the access token under “More settings”, or ask whoever runs this server."];
        case 404:
            return publishing
                ? ["The server has no WHIP address for this name.", "Check the stream name."]
                : [`No stream named “${name}” is live.`,
                    "Check the spelling (upper and lower case differ)."];
        case 405:
            return ["The server refused this kind of request.", "Is there a proxy in between that changes requests?"];
        case 406:
            return ["This browser and the stream have no codec in common.",
                publishing
                    ? "Choose another codec, or “Automatic”."
                    : "Try another browser, or ask the publisher to use VP8 or H.264."];
        case 409:
            return publishing
                ? [`The name “${name}” is in use.`, "Choose another name, or stop the other publisher first."]
                : NOT_READY;
        case 413:
            return ["The offer is too large for the server.", "Try another browser, or report it."];
        case 429:
            return ["Too many requests from this address.", "Wait a little and try again."];
        case 503:
            return ["The server takes nothing new at the moment.",
                "It is full or shutting down. Try again in a minute; the limits are in its configuration."];
        default:
            return status >= 500
                ? ["The server failed to answer.", "Try again. Its log says what went wrong."]
                : ["The server refused.", "The line above is its reason."];
    }
}

export function problemOfNetwork() {
    return new Problem("The server does not answer.", {
        detail: `No connection to ${location.host}.`,
        remedy: "Is Weir running, and is this device online?",
        transient: true,
    });
}

/** Signalling worked, media did not come through. `everConnected`: it worked before. */
export function problemOfMedia(everConnected) {
    return new Problem(everConnected ? "The media connection was lost." : "The media connection could not be made.", {
        detail: "No answer on the server’s media port (31001, UDP and TCP, unless configured otherwise).",
        remedy: "Is a firewall or VPN in between? On the server, “weir doctor” checks the port and the "
            + "addresses it announces.",
        transient: true,
    });
}

const CAPTURE = {
    NotAllowedError: ["{The device} was not allowed.",
        "Allow it for this page with the symbol in the address bar (and in the system’s privacy settings), "
        + "then try again. “Test picture” needs no permission."],
    NotFoundError: ["No {device} was found.",
        "Connect one and try again, or switch off sound under “More settings” if only the microphone is missing."],
    NotReadableError: ["{The device} is in use or does not respond.",
        "Close other programs that use it (a video call?), then try again."],
    OverconstrainedError: ["{The device} cannot deliver this resolution or frame rate.", "Choose a smaller resolution."],
    AbortError: ["{The device} stopped unexpectedly.", "Try again, or reconnect it."],
    SecurityError: ["This browser blocks capturing on this page.", "Check its settings or the rules of your organisation."],
};

/** Errors of getUserMedia and getDisplayMedia, in words. */
export function problemOfCapture(error, source) {
    if (error instanceof Problem) return error;
    const device = source === "screen" ? "screen" : "camera or microphone";
    const [title, remedy] = CAPTURE[error.name] ?? ["{The device} could not be opened.", "Try again, or use another one."];
    const the = device === "screen" ? "The screen" : "The camera or microphone";
    return new Problem(title.replace("{The device}", the).replace("{device}", device), {
        detail: error.message ? `The browser says: ${error.message}` : "", remedy,
    });
}

export function problemOfInsecurePage() {
    return new Problem("Browsers allow camera and screen only on secure pages.", {
        detail: `This page came over plain http from ${location.hostname}.`,
        remedy: "Open it as https (port 8444 unless configured otherwise), or as http://localhost on the server "
            + "itself. The test picture and playing work here too.",
    });
}
