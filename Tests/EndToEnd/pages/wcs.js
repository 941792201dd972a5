// A client of the WCS WebSocket protocol, written from its specification: it sends what the Web SDK sends
// (offer at once, without candidates, bundlePolicy max-compat) and reacts to messages as the SDK does.

import { showTracks, withoutTransportCC } from "./media.js";

const TERMINAL = new Set(["FAILED", "STOPPED", "UNPUBLISHED"]);
const STATUSES = new Set(["PENDING", "PUBLISHING", "PLAYING", "PAUSED", ...TERMINAL]);
/** Messages that the SDK knows, and those that it ignores but other clients of the protocol read. */
const KNOWN = new Set([
    "ping", "getUserData", "setRemoteSDP", "notifyStreamStatusEvent", "notifyStreamEvent", "availableStream",
    "inboundVideoRate", "outboundVideoRate", "fail", "DataStatusEvent", "notifySessionDebugEvent", "finish",
    "getVersion", "notifyBugReport", "pong", "OnDataEvent",
]);
const SDK_STOP_RETRY_MS = 200;

/** What the SDK's option stripCodecs does to an offer: rtx payloads of removed codecs stay, with a dangling apt. */
export function stripCodecs(sdp, names) {
    let lines = sdp.split("\r\n");
    const removed = [];
    for (const line of lines) {
        const match = /^a=rtpmap:(\d+) (.*)$/.exec(line);
        if (match && names.some(name => line.toLowerCase().includes(name.toLowerCase()))) removed.push(match[1]);
    }
    for (const payload of removed) {
        lines = lines.filter(line =>
            !line.startsWith(`a=rtpmap:${payload} `)
            && !line.startsWith(`a=fmtp:${payload}`)
            && !line.startsWith(`a=rtcp-fb:${payload}`));
    }
    lines = lines.map(line => line.startsWith("m=")
        ? line.split(" ").filter((word, index) => index < 3 || !removed.includes(word)).join(" ")
        : line);
    return lines.join("\r\n");
}

/** Sends the player to another TCP port (a relay of the test) than the candidates of the answer name. */
function redirectTCP(sdp, port) {
    return sdp.replace(/^(a=candidate:\S+ \d+ tcp \d+ \S+) \d+ /gim, `$1 ${port} `);
}

export class WcsStream {
    constructor(session, name, published) {
        this.session = session;
        this.name = name;
        this.published = published;
        this.mediaSessionId = crypto.randomUUID();
        this.status = "NEW";
        this.info = null;
        this.history = [];
        this.events = [];
        this.remoteSDP = null;
        this.offer = null;
        this.errors = [];
        this.pc = new RTCPeerConnection({ iceServers: [], bundlePolicy: "max-compat" });
        this.waiting = [];
    }

    async applyRemote(sdp) {
        if (this.tcpPort) sdp = redirectTCP(sdp, this.tcpPort);
        this.remoteSDP = sdp;
        try {
            await this.pc.setRemoteDescription({ type: "answer", sdp });
        } catch (error) {
            this.errors.push(`setRemoteDescription: ${error.message}`);
        }
    }

    applyStatus(object) {
        this.status = object.status;
        if (object.info !== undefined) this.info = object.info;
        this.lastStatus = object;
        this.history.push(object.status);
        if (TERMINAL.has(object.status)) {
            this.pc.close();
            this.session.streams.delete(this.mediaSessionId);
        }
        this.waiting = this.waiting.filter(waiter => !waiter());
    }

    /** Waits for one of the given statuses; any terminal one that is not wanted is an error. */
    async waitStatus(wanted, limitMs = 10000) {
        return new Promise((resolve, reject) => {
            const timer = setTimeout(
                () => reject(new Error(`${this.name}: still ${this.status}, wanted ${wanted}; ${this.errors}`)), limitMs);
            const check = () => {
                if (wanted.includes(this.status)) {
                    clearTimeout(timer);
                    resolve(this.status);
                    return true;
                }
                if (TERMINAL.has(this.status)) {
                    clearTimeout(timer);
                    reject(new Error(`${this.name}: ${this.status} "${this.info}", wanted ${wanted}`));
                    return true;
                }
                return false;
            };
            if (!check()) this.waiting.push(check);
        });
    }

    /**
     * As the SDK's own `stop()`: while the stream is PENDING nothing is sent, it tries again a little later. `stop()`
     * does not wait, as older clients.
     */
    async stopAsSDK() {
        while (this.status === "PENDING") await new Promise(resolve => setTimeout(resolve, SDK_STOP_RETRY_MS));
        if (!TERMINAL.has(this.status)) this.stop();
    }

    stop() {
        this.session.send(this.published ? "unPublishStream" : "stopStream", {
            mediaSessionId: this.mediaSessionId, name: this.name, published: this.published,
            hasVideo: true, hasAudio: true, status: this.status, record: false,
        });
        this.pc.close();
    }
}

export class WcsSession {
    constructor(url) {
        this.url = url;
        this.streams = new Map();
        this.received = [];
        this.sent = [];
        /** What the server must never send: the SDK would throw, hang, or lose a stream over it. */
        this.violations = [];
        this.ended = new Set();
        this.answered = new Set();
        this.pings = 0;
        this.closed = false;
    }

    /** Opens the socket, sends `connection` and resolves with the object of `getUserData`. */
    async connect(options = {}) {
        this.socket = new WebSocket(this.url);
        return new Promise((resolve, reject) => {
            this.socket.onerror = () => reject(new Error("WebSocket error"));
            this.socket.onclose = () => {
                this.closed = true;
                for (const stream of [...this.streams.values()]) stream.applyStatus({ status: "FAILED" });
                reject(new Error("WebSocket closed"));
            };
            this.socket.onopen = () => this.send("connection", {
                appKey: "defaultApp",
                mediaProviders: ["WebRTC", "WSPlayer"],
                clientVersion: "2.0",
                clientOSVersion: navigator.appVersion,
                clientBrowserVersion: navigator.userAgent,
                msePacketizationVersion: 2,
                ...options,
            });
            this.socket.onmessage = event => {
                if (typeof event.data !== "string") {
                    this.violations.push("binary frame");
                    return;
                }
                const message = JSON.parse(event.data);
                this.check(message);
                this.receive(message, resolve);
            };
        });
    }

    /** The rules for messages to the SDK; one that breaks a rule is kept in `violations`. */
    check({ message, data }) {
        const wrong = why => this.violations.push(`${message}: ${why}: ${JSON.stringify(data)?.slice(0, 300)}`);
        if (!KNOWN.has(message)) wrong("unknown to the SDK");
        if (!Array.isArray(data)) {
            wrong("data is no array");
            return;
        }
        const first = data[0];
        const id = first?.mediaSessionId;
        const stream = this.streams.get(id);
        switch (message) {
            case "getUserData":
                if (!first?.authToken || first.status !== "ESTABLISHED") wrong("no authToken or status");
                if ("webRTCMetricsServerDescription" in first) wrong("would switch metrics on");
                break;
            case "setRemoteSDP":
                if (typeof data[2] !== "boolean") wrong("isInitiator is missing");
                if (this.answered.has(first)) wrong("second answer");
                this.answered.add(first);
                break;
            case "notifyStreamStatusEvent":
                if (!id || !STATUSES.has(first.status)) wrong("no id or an unknown status");
                if ("available" in first) wrong("goes to the availability handler");
                if (this.ended.has(id)) wrong("after the terminal status");
                if (["PUBLISHING", "PLAYING"].includes(first.status) && !this.answered.has(id)) wrong("before the answer");
                if (first.published === false && !(first.audioState && first.videoState)) wrong("mute state is missing");
                if (TERMINAL.has(first.status)) this.ended.add(id);
                break;
            case "notifyStreamEvent":
                if (!first.type) wrong("no type");
                if (first.type === "resize" && !(first.payload?.streamerVideoWidth && first.payload?.streamerVideoHeight)) {
                    wrong("no size");
                }
                break;
            case "availableStream":
                if (!first.id || !["true", "false"].includes(first.status)) wrong("id and textual status are missing");
                break;
            case "inboundVideoRate":
            case "outboundVideoRate":
                if (typeof first.videoRate !== "number" || "status" in first) wrong("no rate");
                if (stream && !["PUBLISHING", "PLAYING"].includes(stream.status)) wrong("before the stream is live");
                break;
            case "fail":
                if (first.status !== "FAILED" || !first.info) wrong("no status or info");
                break;
        }
    }

    send(message, object) {
        this.sent.push({ message, data: [object] });
        this.socket.send(JSON.stringify({ message, data: [object] }));
    }

    receive({ message, data }, established) {
        const first = data[0];
        if (message !== "ping") this.received.push(message);
        switch (message) {
            case "ping":
                this.pings += 1;
                this.send("pong", null);
                break;
            case "getUserData":
                established(first);
                break;
            case "setRemoteSDP":
                this.streams.get(first)?.applyRemote(data[1]);
                break;
            case "notifyStreamStatusEvent":
                this.streams.get(first.mediaSessionId)?.applyStatus(first);
                break;
            case "fail":
                this.streams.get(first.id)?.applyStatus(first);
                break;
            case "DataStatusEvent":
                this.onDataStatus?.(first);
                break;
            case "OnDataEvent":
                this.onData?.(first);
                break;
            case "notifyStreamEvent":
            case "inboundVideoRate":
            case "outboundVideoRate":
                this.streams.get(first.mediaSessionId)?.events.push({ message, ...first });
                break;
        }
    }

    async publish(name, media, { strip = [], extra = {}, remb = false } = {}) {
        const stream = new WcsStream(this, name, true);
        this.streams.set(stream.mediaSessionId, stream);
        for (const track of media.getTracks()) {
            stream.pc.addTransceiver(track, { direction: "sendonly", streams: [media] });
        }
        const offer = await stream.pc.createOffer();
        await stream.pc.setLocalDescription(offer);
        stream.status = "PENDING";
        stream.offer = stripCodecs(remb ? withoutTransportCC(offer.sdp) : offer.sdp, strip);
        this.send("publishStream", {
            mediaSessionId: stream.mediaSessionId, name, published: true,
            hasVideo: media.getVideoTracks().length > 0, hasAudio: media.getAudioTracks().length > 0,
            status: "PENDING", record: false, mediaProvider: "WebRTC", sdp: stream.offer,
            bitrate: 0, minBitrate: 0, maxBitrate: 0, ...extra,
        });
        return stream;
    }

    async play(name, { audio = true, video = true, strip = [], extra = {}, tcpPort = null } = {}) {
        const stream = new WcsStream(this, name, false);
        stream.tcpPort = tcpPort;
        this.streams.set(stream.mediaSessionId, stream);
        stream.video = showTracks(stream.pc);
        if (audio) stream.pc.addTransceiver("audio", { direction: "recvonly" });
        if (video) stream.pc.addTransceiver("video", { direction: "recvonly" });
        const offer = await stream.pc.createOffer();
        await stream.pc.setLocalDescription(offer);
        stream.status = "PENDING";
        stream.offer = stripCodecs(offer.sdp, strip);
        this.send("playStream", {
            mediaSessionId: stream.mediaSessionId, name, published: false, hasVideo: true, hasAudio: true,
            status: "PENDING", record: false, width: 0, height: 0, mediaProvider: "WebRTC", sdp: stream.offer,
            bitrate: 0, minBitrate: 0, maxBitrate: 0, quality: 0, ...extra,
        });
        return stream;
    }
}
