// One resource of WHIP (RFC 9725) or WHEP: POST an offer, take the answer, DELETE at the end.

import { Problem, problemOfMedia, problemOfNetwork, problemOfResponse } from "./errors.js";

const POST_LIMIT_MS = 15_000;
const DELETE_LIMIT_MS = 3_000;
const CONNECT_LIMIT_MS = 15_000;

export const whipURL = name => new URL(`whip/${encodeURIComponent(name)}`, document.baseURI).href;
export const whepURL = name => new URL(`whep/${encodeURIComponent(name)}`, document.baseURI).href;

export class WhipResource {
    #pc;
    #target;
    #resourceURL = null;
    #isDeleted = false;

    /** `target`: { url, token, publishing, name }. The peer connection has its transceivers already. */
    constructor(pc, target) {
        this.#pc = pc;
        this.#target = target;
    }

    get peer() {
        return this.#pc;
    }

    /** Offers, answers, and resolves when media is connected. Throws a Problem, or AbortError by `signal`. */
    async open(signal) {
        // Weir is ICE-lite: it answers checks from wherever they come, so nothing is gained by waiting for candidates.
        await this.#pc.setLocalDescription(await this.#pc.createOffer());
        const answer = await this.#post(this.#pc.localDescription.sdp, signal);
        try {
            await this.#pc.setRemoteDescription({ type: "answer", sdp: answer });
        } catch (error) {
            throw new Problem("This browser did not accept the server’s answer.", {
                detail: error.message, remedy: "Try another codec or another browser.",
            });
        }
        await this.#connected(signal);
    }

    async #post(offer, signal) {
        const { url, token } = this.#target;
        const headers = { "Content-Type": "application/sdp" };
        if (token) headers.Authorization = `Bearer ${token}`;
        let response;
        let answer;
        try {
            // Not aborted by `signal`: an answer that comes late names the resource that has to be deleted.
            response = await fetch(url, {
                method: "POST", headers, body: offer, cache: "no-store", signal: AbortSignal.timeout(POST_LIMIT_MS),
            });
            if (response.status === 201) answer = await response.text();
        } catch {
            throw problemOfNetwork();
        }
        if (response.status !== 201) throw await problemOfResponse(response, this.#target);
        const location = response.headers.get("Location");
        if (location) this.#resourceURL = new URL(location, url).href;
        signal.throwIfAborted();
        return answer;
    }

    #connected(signal) {
        const pc = this.#pc;
        return new Promise((resolve, reject) => {
            const end = finish => {
                clearTimeout(timer);
                pc.removeEventListener("connectionstatechange", check);
                signal.removeEventListener("abort", abort);
                finish();
            };
            const check = () => {
                if (pc.connectionState === "connected") end(resolve);
                else if (pc.connectionState === "failed") end(() => reject(problemOfMedia(false)));
            };
            const abort = () => end(() => reject(signal.reason));
            const timer = setTimeout(() => end(() => reject(problemOfMedia(false))), CONNECT_LIMIT_MS);
            pc.addEventListener("connectionstatechange", check);
            signal.addEventListener("abort", abort);
            if (signal.aborted) abort();
            else check();
        });
    }

    /** Closes the peer connection and deletes the resource. Never throws; does its work once. */
    async close() {
        this.#pc.close();
        const request = this.#delete(AbortSignal.timeout(DELETE_LIMIT_MS));
        await request?.catch(() => {});
    }

    /** For `pagehide`: the request outlives the page. */
    abandon() {
        this.#delete(undefined)?.catch(() => {});
        this.#pc.close();
    }

    #delete(signal) {
        if (this.#resourceURL === null || this.#isDeleted) return null;
        this.#isDeleted = true;
        const { token } = this.#target;
        const headers = token ? { Authorization: `Bearer ${token}` } : {};
        return fetch(this.#resourceURL, { method: "DELETE", headers, keepalive: true, signal });
    }
}

/** Leaves one codec (with retransmission) in the offer. `mimeType` for example "video/VP9"; null = browser's choice. */
export function preferCodec(transceiver, mimeType) {
    if (!mimeType || !transceiver.setCodecPreferences) return;
    const { codecs } = RTCRtpSender.getCapabilities("video");
    const wanted = codecs.filter(codec => codec.mimeType.toLowerCase() === mimeType.toLowerCase());
    if (wanted.length === 0) {
        throw new Problem(`This browser cannot encode ${mimeType.replace("video/", "")}.`, {
            remedy: "Choose another codec, or “Automatic”.",
        });
    }
    transceiver.setCodecPreferences([...wanted, ...codecs.filter(codec => /\/rtx$/i.test(codec.mimeType))]);
}

/** Video codecs this browser can send, as MIME types without repetition. */
export function sendableVideoCodecs() {
    const all = globalThis.RTCRtpSender?.getCapabilities?.("video")?.codecs ?? [];
    const types = all.map(codec => codec.mimeType).filter(type => !/\/(rtx|red|ulpfec|flexfec-03)$/i.test(type));
    return [...new Set(types)];
}

/** Sets the most that the video of this connection may use, in bits per second; takes effect at once. */
export async function limitVideoBitrate(pc, bitsPerSecond) {
    for (const sender of pc.getSenders()) {
        if (sender.track?.kind !== "video") continue;
        const parameters = sender.getParameters();
        // Empty before the first negotiation in some browsers.
        if (!parameters.encodings?.length) continue;
        for (const encoding of parameters.encodings) encoding.maxBitrate = bitsPerSecond;
        await sender.setParameters(parameters);
    }
}
