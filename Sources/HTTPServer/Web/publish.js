// The publishing half of the page.

import { listDevices, openCapture } from "./capture.js";
import { Connection } from "./connection.js";
import { asProblem, Problem } from "./errors.js";
import * as format from "./format.js";
import { nameFault, suggestName } from "./names.js";
import { Meter } from "./stats.js";
import { StatsView } from "./stats-view.js";
import {
    $, announce, clearProblem, memory, setBadge, setFault, setIcon, setText, showProblem, watchURL, wireCopy,
} from "./ui.js";
import { limitVideoBitrate, preferCodec, sendableVideoCodecs, whipURL } from "./whip.js";

const BITRATES_KBPS = [150, 300, 500, 800, 1200, 1800, 2500, 3500, 5000, 8000];

const STATES = {
    connecting: ["Connecting…", "busy"], connected: ["Live", "good"],
    unsteady: ["Connection is unsteady", "busy"], reconnecting: ["Reconnecting…", "busy"], closed: ["Off", ""],
};

/** Events "name" when the name changed and "live" when publishing began or ended. */
export class Publisher extends EventTarget {
    #capture = null;
    #captureKey = "";
    #connection = null;
    #liveSince = null;
    #stats = new StatsView($("publish-stats"), true);
    /** Grows with each start and stop, so that what is still on its way notices that it is outdated. */
    #turn = 0;

    constructor() {
        super();
        this.#restoreChoices();
        this.#wire();
        this.#sourceChanged();
        // Needing neither devices nor permission, the test picture shows itself, unless motion is unwelcome.
        this.#showTestPicture();
        document.addEventListener("visibilitychange", () => this.#showTestPicture());
    }

    /** A preview that nobody sees would only cost electricity. */
    #showTestPicture() {
        if (this.#source !== "test" || this.#connection) return;
        const isWanted = !document.hidden && document.body.dataset.mode === "studio"
            && !matchMedia("(prefers-reduced-motion: reduce)").matches;
        if (isWanted && !this.#capture) void this.#preview();
        else if (document.hidden) this.#dropCapture();
    }

    get name() {
        return $("publish-name").value.trim();
    }

    get isLive() {
        return this.#liveSince !== null;
    }

    /** What this page publishes right now; a microphone in it would howl in our own player. */
    get own() {
        return this.#connection ? { name: this.name, hasMicrophone: this.#capture?.hasMicrophone ?? false } : null;
    }

    get #source() {
        return $("publish-form").elements.source.value;
    }

    #restoreChoices() {
        const form = $("publish-form");
        const source = memory.get("source");
        if (["camera", "screen", "test"].includes(source)) form.elements.source.value = source;
        for (const id of ["publish-resolution", "publish-rate", "publish-bitrate"]) {
            const value = memory.get(id);
            if (value !== null) $(id).value = value;
            // A value that is no longer on offer leaves a select empty.
            if ($(id).value === "") $(id).selectedIndex = 0;
        }
        for (const type of sendableVideoCodecs()) $("publish-codec").append(new Option(format.codec(type), type));
        $("publish-name").value = memory.get("name") || suggestName();
        this.#showBitrate();
    }

    #wire() {
        const form = $("publish-form");
        form.addEventListener("submit", event => {
            event.preventDefault();
            if (!this.#connection) void this.start();
        });
        $("publish-stop").addEventListener("click", () => void this.stop());
        $("preview-start").addEventListener("click", () => void this.#preview());
        for (const radio of form.elements.source) radio.addEventListener("change", () => this.#sourceChanged(true));
        for (const id of ["publish-resolution", "publish-rate", "publish-camera", "publish-microphone", "publish-sound"]) {
            $(id).addEventListener("change", () => this.#settingChanged(id));
        }
        $("publish-bitrate").addEventListener("input", () => this.#showBitrate());
        $("publish-bitrate").addEventListener("change", () => this.#bitrateChanged());
        $("publish-name").addEventListener("input", () => this.#nameChanged());
        $("publish-suggest").addEventListener("click", () => {
            $("publish-name").value = suggestName();
            this.#nameChanged();
        });
        $("publish-mute").addEventListener("click", () => this.#toggleMute());
        wireCopy($("publish-link"), () => watchURL(this.name));
        navigator.mediaDevices?.addEventListener?.("devicechange", () => void this.#fillDevices());
        setInterval(() => {
            if (this.isLive) setText($("publish-time"), format.duration((performance.now() - this.#liveSince) / 1000));
        }, 500);
    }

    #nameChanged() {
        const name = this.name;
        setFault($("publish-name"), name === "" ? null : nameFault(name));
        this.#capture?.rename(name);
        memory.set("name", name);
        this.dispatchEvent(new Event("name"));
    }

    #showBitrate() {
        const text = format.bitrate(this.#bitsPerSecond);
        setText($("publish-bitrate-text"), text);
        $("publish-bitrate").setAttribute("aria-valuetext", text);
    }

    get #bitsPerSecond() {
        return BITRATES_KBPS[$("publish-bitrate").value] * 1000;
    }

    async #bitrateChanged() {
        memory.set("publish-bitrate", $("publish-bitrate").value);
        const pc = this.#connection?.peer;
        if (!pc) return;
        try {
            await limitVideoBitrate(pc, this.#bitsPerSecond);
        } catch (error) {
            showProblem($("publish-problem"), new Problem("The bitrate could not be changed.", { detail: error.message }));
        }
    }

    #sourceChanged(byHand = false) {
        const source = this.#source;
        memory.set("source", source);
        for (const node of document.querySelectorAll(".camera-only")) node.hidden = source !== "camera";
        setIcon($("preview-empty"), { camera: "camera", screen: "screen", test: "pattern" }[source]);
        clearProblem($("publish-problem"));
        this.#dropCapture();
        if (source === "camera") void this.#fillDevices();
        if (byHand && source === "test") void this.#preview();
    }

    async #settingChanged(id) {
        if (id !== "publish-sound") memory.set(id, $(id).value);
        if (this.#connection || !this.#capture) return;
        // A preview shows what will be sent. The screen is not asked for again before the person wants it.
        const source = this.#capture.source;
        this.#dropCapture();
        if (source !== "screen") await this.#preview();
    }

    async #fillDevices() {
        const { cameras, microphones } = await listDevices();
        for (const [id, devices] of [["publish-camera", cameras], ["publish-microphone", microphones]]) {
            const chosen = $(id).value;
            const options = devices.map((device, index) =>
                new Option(device.label || `Device ${index + 1}`, device.deviceId));
            $(id).replaceChildren(new Option("Default", ""), ...options);
            $(id).value = devices.some(device => device.deviceId === chosen) ? chosen : "";
        }
    }

    async #preview() {
        const turn = ++this.#turn;
        clearProblem($("publish-problem"));
        $("preview-start").disabled = true;
        try {
            await this.#openCapture(turn);
        } catch (error) {
            if (turn === this.#turn) showProblem($("publish-problem"), asProblem(error));
        } finally {
            $("preview-start").disabled = false;
        }
    }

    /** Keeps a capture that fits what is chosen now, else opens one. Resolves false when it came too late. */
    async #openCapture(turn) {
        const [width, height] = $("publish-resolution").value.split("x").map(Number);
        const wish = {
            source: this.#source, width, height, frameRate: Number($("publish-rate").value),
            hasSound: $("publish-sound").checked, cameraId: $("publish-camera").value,
            microphoneId: $("publish-microphone").value,
        };
        const key = JSON.stringify(wish);
        if (this.#capture && this.#captureKey === key) return true;
        this.#dropCapture();
        const capture = await openCapture({ ...wish, name: this.name });
        if (turn !== this.#turn) {
            capture.stop();
            return false;
        }
        this.#capture = capture;
        this.#captureKey = key;
        for (const track of capture.stream.getTracks()) {
            track.addEventListener("ended", () => this.#trackEnded(capture, track));
        }
        const preview = $("preview");
        preview.srcObject = capture.stream;
        preview.classList.toggle("mirrored", capture.source === "camera" && !isRearCamera(capture.stream));
        preview.play().catch(() => {});
        $("preview-empty").hidden = true;
        if (capture.source === "camera") void this.#fillDevices();
        return true;
    }

    #dropCapture() {
        this.#capture?.stop();
        this.#capture = null;
        $("preview").srcObject = null;
        $("preview-empty").hidden = false;
    }

    /** The browser's own "stop sharing", or a cable pulled. Stopping by ourselves does not come here. */
    #trackEnded(capture, track) {
        if (capture !== this.#capture) return;
        const what = capture.source === "screen" ? "Sharing the screen" : `The ${track.kind === "audio" ? "microphone" : "camera"}`;
        const wasLive = this.#connection !== null;
        void this.stop();
        this.#dropCapture();
        showProblem($("publish-problem"), new Problem(`${what} was ended.`, {
            detail: wasLive ? "Publishing was stopped with it." : "", remedy: "Start again when you are ready.",
        }), { tone: "info" });
    }

    async start() {
        const name = this.name;
        const fault = nameFault(name);
        setFault($("publish-name"), fault, { focus: true });
        if (fault) return;
        const turn = ++this.#turn;
        clearProblem($("publish-problem"));
        this.#setBusy(true, "Opening the source…");
        try {
            if (!(await this.#openCapture(turn))) return;
            await this.#capture.prepareSound();
            if (turn !== this.#turn) return;
            this.#connect(name);
        } catch (error) {
            if (turn !== this.#turn) return;
            this.#setBusy(false);
            setBadge($("publish-state"), "Not started", "bad");
            showProblem($("publish-problem"), asProblem(error));
        }
    }

    #connect(name) {
        const { stream } = this.#capture;
        const target = { url: whipURL(name), token: $("publish-token").value.trim(), publishing: true, name };
        const connection = new Connection(target, () => makeSendingPeer(stream, {
            codec: $("publish-codec").value, bitsPerSecond: this.#bitsPerSecond,
        }));
        this.#connection = connection;
        connection.addEventListener("peer", () => this.#stats.follow(new Meter(connection.peer, true)));
        connection.addEventListener("state", () => {
            this.#showState(connection.state);
            // Some browsers know their encodings only after the negotiation.
            if (connection.state === "connected") limitVideoBitrate(connection.peer, this.#bitsPerSecond).catch(() => {});
        });
        connection.addEventListener("end", () => {
            this.#ended();
            setBadge($("publish-state"), "Failed", "bad");
            showProblem($("publish-problem"), connection.problem, {
                action: { label: "Try again", run: () => void this.start() },
            });
        });
        this.#showState("connecting");
        void connection.start();
    }

    async stop() {
        this.#turn += 1;
        const connection = this.#connection;
        this.#ended();
        clearProblem($("publish-problem"));
        setBadge($("publish-state"), "Off");
        // The camera's light goes out at once; the test picture may go on as a preview.
        if (this.#capture?.source !== "test") this.#dropCapture();
        await connection?.stop();
        announce("Publishing stopped");
    }

    abandon() {
        this.#connection?.abandon();
    }

    #showState(state) {
        const [text, tone] = STATES[state];
        this.#setBusy(true, text, tone);
        if (state === "connected" && !this.isLive) {
            this.#liveSince = performance.now();
            $("publish-bar").hidden = false;
            $("publish-mute").hidden = this.#capture.stream.getAudioTracks().length === 0;
            announce(`Live as ${this.name}`);
            this.dispatchEvent(new Event("live"));
        }
    }

    #ended() {
        this.#connection = null;
        this.#liveSince = null;
        this.#stats.stop();
        $("publish-bar").hidden = true;
        $("publish-mute").setAttribute("aria-pressed", "false");
        setIcon($("publish-mute"), "mic");
        for (const track of this.#capture?.stream.getAudioTracks() ?? []) track.enabled = true;
        this.#setBusy(false);
        this.dispatchEvent(new Event("live"));
    }

    /** While publishing, only what may change in mid-stream stays open: the bitrate. */
    #setBusy(busy, text = "Off", tone = "busy") {
        setBadge($("publish-state"), text, busy ? tone : "");
        $("publish-start").hidden = busy;
        $("publish-stop").hidden = !busy;
        $("publish-link").hidden = !busy;
        for (const control of $("publish-form").elements) {
            const staysOpen = control.tagName === "BUTTON" && control.id !== "publish-suggest" || control.type === "range";
            if (!staysOpen) control.disabled = busy;
        }
    }

    #toggleMute() {
        const button = $("publish-mute");
        const muted = button.getAttribute("aria-pressed") !== "true";
        for (const track of this.#capture?.stream.getAudioTracks() ?? []) track.enabled = !muted;
        button.setAttribute("aria-pressed", String(muted));
        setIcon(button, muted ? "mic-off" : "mic");
    }

    /** From the list of streams. */
    showPlayers(count) {
        if (Number.isFinite(count)) setText($("publish-players"), String(count));
    }
}

function makeSendingPeer(stream, { codec, bitsPerSecond }) {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    try {
        for (const track of stream.getTracks()) {
            const transceiver = pc.addTransceiver(track, {
                direction: "sendonly", streams: [stream],
                ...(track.kind === "video" ? { sendEncodings: [{ maxBitrate: bitsPerSecond }] } : {}),
            });
            if (track.kind === "video") preferCodec(transceiver, codec);
        }
    } catch (error) {
        pc.close();
        throw error;
    }
    return pc;
}

function isRearCamera(stream) {
    return stream.getVideoTracks()[0]?.getSettings().facingMode === "environment";
}
