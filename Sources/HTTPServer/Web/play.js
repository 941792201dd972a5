// The playing half of the page.

import { Connection } from "./connection.js";
import * as format from "./format.js";
import { canPlayNatively, HLSMeter, NativePlayback } from "./hls-native.js";
import { canPlayHLS, HLSPlayback, hlsURL } from "./hls-player.js";
import { nameFault } from "./names.js";
import { Meter } from "./stats.js";
import { StatsView } from "./stats-view.js";
import { $, announce, clearProblem, memory, setBadge, setFault, setIcon, setText, showProblem } from "./ui.js";
import { whepURL } from "./whip.js";

/** A stream that is gone from the list and sends nothing for so many answers in a row has ended. */
const GONE_ANSWERS = 3;

const STATES = {
    connecting: ["Connecting…", "busy"], connected: ["Waiting for the picture…", "busy"],
    unsteady: ["Connection is unsteady", "busy"], reconnecting: ["Reconnecting…", "busy"], closed: ["Off", ""],
};

/** Event "name" when what is played changed. */
export class Player extends EventTarget {
    #name = null;
    #connection = null;
    #stream = null;
    #hasPicture = false;
    /** Set while we wait for a name that is not live: playing starts by itself when it appears. */
    #awaited = null;
    #goneCount = 0;
    #packets = 0;
    #publisher;
    #stats = new StatsView($("play-stats"), false, reading => this.#read(reading));

    constructor(publisher) {
        super();
        this.#publisher = publisher;
        this.#wire();
    }

    /** The name that is played, connecting included. */
    get name() {
        return this.#name;
    }

    #wire() {
        $("play-form").addEventListener("submit", event => {
            event.preventDefault();
            void this.play($("play-name").value.trim());
        });
        $("play-name").addEventListener("input", () => setFault($("play-name"), null));
        $("play-stop").addEventListener("click", () => void this.stop());
        const video = $("player");
        video.addEventListener("playing", () => this.#pictureShown());
        video.addEventListener("resize", () => this.#pictureShown());
        video.addEventListener("volumechange", () => this.#showVolume());
        $("play-mute").addEventListener("click", () => {
            video.muted = !video.muted;
            $("play-unmute").hidden = true;
        });
        $("play-volume").addEventListener("input", () => {
            video.volume = Number($("play-volume").value);
            video.muted = video.volume === 0;
            $("play-unmute").hidden = true;
            memory.set("volume", String(video.volume));
        });
        $("play-unmute").addEventListener("click", () => {
            video.muted = false;
            $("play-unmute").hidden = true;
            video.play().catch(() => {});
        });
        const ways = $("play-way");
        if (!canPlayHLS()) ways.querySelector("[value=hls]").remove();
        if (!canPlayNatively()) ways.querySelector("[value=native]").remove();
        this.way = memory.get("way") ?? "webrtc";
        ways.addEventListener("change", () => {
            memory.set("way", ways.value);
            if (this.#name !== null) void this.play(this.#name);
        });
        const volume = Number.parseFloat(memory.get("volume") ?? "1");
        if (volume > 0 && volume <= 1) video.volume = volume;
        this.#showVolume();
        $("play-full").addEventListener("click", () => this.#toggleFullScreen());
        $("play-pip").hidden = !document.pictureInPictureEnabled;
        $("play-pip").addEventListener("click", () => {
            if (document.pictureInPictureElement) void document.exitPictureInPicture();
            else video.requestPictureInPicture().catch(() => {});
        });
    }

    /** How streams are played: webrtc, hls, native; what this browser cannot do is not taken. */
    set way(value) {
        const ways = $("play-way");
        if ([...ways.options].some(option => option.value === value)) ways.value = value;
    }

    #toggleFullScreen() {
        const stage = $("play-stage");
        if (document.fullscreenElement) void document.exitFullscreen();
        else if (stage.requestFullscreen) stage.requestFullscreen().catch(() => {});
        // The iPhone has full screen for the video element only.
        else $("player").webkitEnterFullscreen?.();
    }

    #showVolume() {
        const video = $("player");
        setIcon($("play-mute"), video.muted ? "muted" : "sound");
        $("play-mute").setAttribute("aria-pressed", String(video.muted));
        $("play-volume").value = String(video.muted ? 0 : video.volume);
    }

    async play(name) {
        const fault = nameFault(name, true);
        setFault($("play-name"), fault, { focus: true });
        if (fault) return;
        this.#endCurrent();
        this.#name = name;
        $("play-name").value = name;
        clearProblem($("play-problem"));
        const own = this.#publisher.own;
        const wouldHowl = own?.name === name && own.hasMicrophone;
        $("player").muted = wouldHowl;
        $("play-unmute").hidden = true;
        this.#showBusy("Connecting…");
        if (wouldHowl) {
            showProblem($("play-problem"), {
                title: "Muted: this is your own microphone.", remedy: "With sound it would howl. Use headphones.",
            }, { tone: "info" });
        }
        this.#connect(name);
        this.dispatchEvent(new Event("name"));
    }

    #connect(name) {
        const connection = this.#makeConnection(name, $("play-way").value, $("play-token").value.trim());
        this.#connection = connection;
        connection.addEventListener("state", () => this.#showState(connection));
        connection.addEventListener("end", () => {
            if (connection.problem) this.#failed(connection.problem);
            else this.#ended();
        });
        void connection.start();
    }

    #makeConnection(name, way, token) {
        if (way === "webrtc") {
            const target = { url: whepURL(name), token, publishing: false, name };
            const connection = new Connection(target, () => this.#makeReceivingPeer());
            connection.addEventListener("peer", () => this.#stats.follow(new Meter(connection.peer, false)));
            return connection;
        }
        const Playback = way === "native" ? NativePlayback : HLSPlayback;
        const connection = new Playback({ url: hlsURL(name, token), name }, $("player"));
        this.#stream = connection;
        this.#hasPicture = false;
        this.#packets = 0;
        this.#goneCount = 0;
        connection.addEventListener("state", () => {
            if (connection.state === "connected") void this.#startElement(connection);
        });
        this.#stats.follow(new HLSMeter(connection, $("player")));
        return connection;
    }

    #makeReceivingPeer() {
        const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
        const stream = new MediaStream();
        this.#stream = stream;
        this.#hasPicture = false;
        this.#packets = 0;
        this.#goneCount = 0;
        pc.addTransceiver("audio", { direction: "recvonly" });
        pc.addTransceiver("video", { direction: "recvonly" });
        pc.addEventListener("track", ({ track }) => {
            stream.addTrack(track);
            if ($("player").srcObject !== stream) $("player").srcObject = stream;
            void this.#startElement(stream);
        });
        return pc;
    }

    /** Browsers refuse sound without a click on this page: then it plays muted and a button asks for the click. */
    async #startElement(stream) {
        const video = $("player");
        try {
            await video.play();
        } catch (error) {
            if (error.name !== "NotAllowedError" || stream !== this.#stream) return;
            const wasMuted = video.muted;
            video.muted = true;
            setText($("play-unmute").lastElementChild, "Tap for sound");
            try {
                await video.play();
            } catch {
                video.muted = wasMuted;
                setText($("play-unmute").lastElementChild, "Tap to play");
            }
            $("play-unmute").hidden = false;
        }
    }

    #pictureShown() {
        const video = $("player");
        if (!this.#connection || video.videoWidth === 0) return;
        this.#hasPicture = true;
        $("play-empty").hidden = true;
        this.#showState(this.#connection);
    }

    #showState({ state }) {
        if (state === "connected" && this.#hasPicture) {
            setBadge($("play-state"), "Playing", "good");
            this.#showBar(true);
            return;
        }
        const [text, tone] = STATES[state];
        setBadge($("play-state"), text, tone);
        if (!this.#hasPicture) setText($("play-empty-text"), text);
    }

    #showBar(shown) {
        $("play-bar").hidden = !shown;
        setText($("play-now"), this.#name ?? "");
    }

    #read(reading) {
        if (this.#connection?.state !== "connected" || this.#hasPicture) return;
        // Sound without picture: say so instead of waiting for ever.
        if (reading.audioBitrate > 0 && reading.frames === 0) {
            setBadge($("play-state"), "Playing sound only", "good");
            setIcon($("play-empty"), "sound");
            $("play-empty").classList.remove("busy");
            setText($("play-empty-text"), "This stream has sound only, so far.");
            this.#showBar(true);
        }
    }

    async stop() {
        const connection = this.#endCurrent();
        clearProblem($("play-problem"));
        this.#showIdle("Enter a name, or choose a live stream.");
        this.dispatchEvent(new Event("name"));
        await connection?.stop();
        announce("Playing stopped");
    }

    abandon() {
        this.#connection?.abandon();
    }

    /** Leaves nothing of the current stream behind; the caller shows what comes next. */
    #endCurrent() {
        const connection = this.#connection;
        this.#connection = null;
        this.#stream = null;
        this.#name = null;
        this.#awaited = null;
        this.#hasPicture = false;
        this.#stats.stop();
        $("player").srcObject = null;
        $("play-unmute").hidden = true;
        this.#showBar(false);
        void connection?.stop();
        return connection;
    }

    #showBusy(text) {
        setBadge($("play-state"), text, "busy");
        $("play-start").hidden = true;
        $("play-stop").hidden = false;
        $("play-empty").hidden = false;
        $("play-empty").classList.add("busy");
        setIcon($("play-empty"), "play");
        setText($("play-empty-text"), text);
    }

    #showIdle(text, badge = "Off", tone = "") {
        setBadge($("play-state"), badge, tone);
        $("play-start").hidden = false;
        $("play-stop").hidden = true;
        $("play-empty").hidden = false;
        $("play-empty").classList.remove("busy");
        setIcon($("play-empty"), "play");
        setText($("play-empty-text"), text);
    }

    #failed(problem) {
        const name = this.#name;
        const wasPlaying = this.#hasPicture;
        this.#endCurrent();
        this.dispatchEvent(new Event("name"));
        if (problem.status === 404) return this.#await(name, wasPlaying, problem);
        this.#showIdle("Not playing.", "Failed", "bad");
        showProblem($("play-problem"), problem, { action: { label: "Try again", run: () => void this.play(name) } });
    }

    /** The name is not live: said clearly, and playing begins by itself when it is. */
    #await(name, wasPlaying, problem = { detail: "", remedy: "", status: 0 }) {
        this.#awaited = name;
        const title = wasPlaying ? `The stream “${name}” has ended.` : problem.title;
        const also = "Playing starts by itself when it goes live.";
        this.#showIdle(also, wasPlaying ? "Ended" : "Not live", wasPlaying ? "" : "bad");
        showProblem($("play-problem"), {
            title, status: wasPlaying ? 0 : problem.status, detail: wasPlaying ? "" : problem.detail,
            remedy: wasPlaying ? also : `${problem.remedy} ${also}`,
        }, {
            tone: wasPlaying ? "info" : "bad",
            action: { label: "Do not wait", run: () => void this.stop() },
        });
    }

    /** Called with each answer of the list; `streams` is null when the list is not to be had. */
    streamsChanged(streams) {
        if (!streams) return;
        if (this.#awaited !== null && streams.has(this.#awaited)) {
            void this.play(this.#awaited);
            return;
        }
        if (this.#connection === null || streams.has(this.#name)) {
            this.#goneCount = 0;
            return;
        }
        const packets = this.#stats.reading?.packets ?? 0;
        this.#goneCount = packets === this.#packets ? this.#goneCount + 1 : 0;
        this.#packets = packets;
        if (this.#goneCount < GONE_ANSWERS || this.#connection.state === "connecting") return;
        this.#ended();
    }

    #ended() {
        const name = this.#name;
        this.#endCurrent();
        this.dispatchEvent(new Event("name"));
        this.#await(name, true);
    }

    describe(stream) {
        if (stream && this.#name === stream.name && this.#hasPicture) {
            setText($("play-now"), `${stream.name} · ${format.count(stream.viewers, "viewer", "viewers")}`);
        }
    }
}
