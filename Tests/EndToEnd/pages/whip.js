// Clients of WHIP (RFC 9725) and WHEP: one POST with a complete offer, DELETE at the end.

import { gatheringComplete, limitBitrate, preferCodec, showTracks, withoutTransportCC } from "./media.js";

class HttpPeer {
    constructor(url) {
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
        await this.pc.setLocalDescription(await this.pc.createOffer());
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
        await this.pc.setRemoteDescription({ type: "answer", sdp: body });
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

export async function whipPublish(url, media, { codec = null, maxBitrate = null, remb = false } = {}) {
    const peer = new HttpPeer(url);
    for (const track of media.getTracks()) {
        peer.pc.addTransceiver(track, { direction: "sendonly", streams: [media] });
    }
    if (codec) preferCodec(peer.pc, "video", codec);
    await peer.negotiate(remb ? withoutTransportCC : undefined);
    if (maxBitrate) await limitBitrate(peer.pc, maxBitrate);
    return peer;
}

export async function whepPlay(url, { audio = true, video = true, codec = null, gather = true } = {}) {
    const peer = new HttpPeer(url);
    peer.video = showTracks(peer.pc);
    if (audio) peer.pc.addTransceiver("audio", { direction: "recvonly" });
    if (video) peer.pc.addTransceiver("video", { direction: "recvonly" });
    if (codec) preferCodec(peer.pc, "video", codec);
    await peer.negotiate(undefined, gather);
    return peer;
}
