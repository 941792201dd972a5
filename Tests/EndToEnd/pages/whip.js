// Clients of WHIP (RFC 9725) and WHEP: one POST with a complete offer, DELETE at the end.

import { gatheringComplete, limitBitrate, preferCodec, showTracks, withoutTransportCC } from "./media.js";
import { withOpusParameters } from "./sound.js";

/** The answer as if UDP were blocked: without its UDP candidates, or (a number) all with that port. */
function withoutUDP(sdp, udp) {
    const candidate = /^(a=candidate:\S+ \d+ udp \d+ \S+) \d+ (.*\r?\n)/gim;
    return sdp.replace(candidate, udp === "stripped" ? "" : `$1 ${udp} $2`);
}

class HttpPeer {
    /**
     * @param opus what is added to the format of Opus in the own description
     * @param udp what becomes of the UDP candidates in the answer: "stripped" or another port
     */
    constructor(url, { opus = null, udp = null } = {}) {
        this.opus = opus;
        this.udp = udp;
        this.url = url;
        this.pc = new RTCPeerConnection({ iceServers: [] });
        this.status = "NEW";
        this.info = null;
        this.errors = [];
        this.history = [];
        this.events = [];
    }

    /**
     * @param edit what is done to the offer on its way to the server
     * @param gather whether the offer waits for the candidates
     */
    async negotiate(edit = sdp => sdp, gather = true) {
        const { sdp } = await this.pc.createOffer();
        await this.pc.setLocalDescription({ type: "offer", sdp: this.opus ? withOpusParameters(sdp, this.opus) : sdp });
        if (gather) await gatheringComplete(this.pc);
        this.offer = edit(this.pc.localDescription.sdp);
        const response = await fetch(this.url, {
            method: "POST", headers: { "Content-Type": "application/sdp" }, body: this.offer,
        });
        const body = await response.text();
        this.httpStatus = response.status;
        if (response.status !== 201) {
            this.pc.close();
            throw new Error(`${this.url}: ${response.status} ${body}`);
        }
        // A page of another origin sees these only when the server exposes them (CORS).
        this.location = response.headers.get("Location");
        this.etag = response.headers.get("ETag");
        this.remoteSDP = body;
        const applied = this.udp === null ? body : withoutUDP(body, this.udp);
        await this.pc.setRemoteDescription({ type: "answer", sdp: applied });
    }

    async connected(limitMs = 10000) {
        const end = performance.now() + limitMs;
        while (this.pc.connectionState !== "connected") {
            if (performance.now() > end || this.pc.connectionState === "failed") {
                throw new Error(`${this.url}: connection is ${this.pc.connectionState}`);
            }
            await new Promise(resolve => setTimeout(resolve, 10));
        }
    }

    async stop() {
        let status = null;
        if (this.location) {
            status = (await fetch(new URL(this.location, this.url), { method: "DELETE" })).status;
        }
        this.pc.close();
        return status;
    }
}

export async function whipPublish(
    url, media, { codec = null, audioCodec = null, maxBitrate = null, remb = false, opus = null, udp = null } = {}) {
    const peer = new HttpPeer(url, { opus, udp });
    for (const track of media.getTracks()) {
        peer.pc.addTransceiver(track, { direction: "sendonly", streams: [media] });
    }
    if (codec) preferCodec(peer.pc, "video", codec);
    if (audioCodec) preferCodec(peer.pc, "audio", audioCodec);
    await peer.negotiate(remb ? withoutTransportCC : undefined);
    if (maxBitrate) await limitBitrate(peer.pc, maxBitrate);
    return peer;
}

export async function whepPlay(
    url, { audio = true, video = true, codec = null, gather = true, opus = null, udp = null } = {}) {
    const peer = new HttpPeer(url, { opus, udp });
    peer.video = showTracks(peer.pc);
    if (audio) peer.pc.addTransceiver("audio", { direction: "recvonly" });
    if (video) peer.pc.addTransceiver("video", { direction: "recvonly" });
    if (codec) preferCodec(peer.pc, "video", codec);
    await peer.negotiate(undefined, gather);
    return peer;
}
