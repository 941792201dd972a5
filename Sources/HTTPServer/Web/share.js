// Addresses of one stream for other programs, and commands to copy.

import { $, copyButton, el, setText, watchURL } from "./ui.js";
import { hlsURL } from "./hls-player.js";
import { ffplayCommand, quoted, rtspKnown, rtspURL, vlcCommand } from "./rtsp.js";
import { whepURL, whipURL } from "./whip.js";

const WEBSOCKET_PORTS = { "http:": 8080, "https:": 8443 };

function webSocketURL() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    return `${scheme}://${location.hostname}:${WEBSOCKET_PORTS[location.protocol] ?? 8080}`;
}

const EXAMPLES = {
    OBS: {
        steps: name => [
            "Open Settings → Stream in OBS Studio 30 or newer and choose the service WHIP.",
            `Server: ${whipURL(name)}`,
            "Bearer token: leave it empty unless this server asks for one.",
            "Under Output, set the key frame interval to 2 s and B-frames to 0.",
        ],
    },
    GStreamer: {
        note: "Needs gst-plugins-rs with whipclientsink (GStreamer 1.24 or newer).",
        command: name => "gst-launch-1.0 whipclientsink name=whip \\\n"
            + `    signaller::whip-endpoint=${quoted(whipURL(name))} \\\n`
            + "  videotestsrc is-live=true pattern=ball ! video/x-raw,width=1280,height=720,framerate=30/1 \\\n"
            + "    ! videoconvert ! queue ! whip.video_0 \\\n"
            + "  audiotestsrc is-live=true wave=ticks ! audioconvert ! audioresample ! queue ! whip.audio_0",
    },
    FFmpeg: {
        note: "Needs ffmpeg 8.0 or newer: older versions cannot send WHIP.",
        command: name => "ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=frequency=440 \\\n"
            + "  -c:v libx264 -profile:v baseline -pix_fmt yuv420p -tune zerolatency -bf 0 -g 60 -b:v 2M \\\n"
            + `  -c:a libopus -ar 48000 -ac 2 -b:a 96k -f whip ${quoted(whipURL(name))}`,
    },
    "Play in VLC": {
        note: "Needs VLC 3 with RTSP; Debian's own package has none.",
        command: vlcCommand,
    },
    "Play in ffplay": { command: ffplayCommand },
    "Web page": {
        note: "A player for a page of yours. With sound, browsers want a click first.",
        command: name => "<video id=\"weir\" autoplay muted playsinline controls></video>\n"
            + "<script type=\"module\">\n"
            + "  const pc = new RTCPeerConnection(), stream = new MediaStream();\n"
            + "  for (const kind of [\"audio\", \"video\"]) pc.addTransceiver(kind, { direction: \"recvonly\" });\n"
            + "  pc.ontrack = ({ track }) => { stream.addTrack(track); weir.srcObject = stream; };\n"
            + "  await pc.setLocalDescription(await pc.createOffer());\n"
            + `  const answer = await fetch(${JSON.stringify(whepURL(name))}, {\n`
            + "    method: \"POST\", headers: { \"Content-Type\": \"application/sdp\" }, body: pc.localDescription.sdp,\n"
            + "  });\n"
            + "  if (!answer.ok) throw new Error(await answer.text());\n"
            + "  await pc.setRemoteDescription({ type: \"answer\", sdp: await answer.text() });\n"
            + "</script>",
    },
    "List of streams": {
        note: "What is live now, as JSON:",
        command: () => `curl ${quoted(new URL("api/streams", document.baseURI).href)}`,
    },
};

/** Builds the section once; `show(name)` fills in the name. */
export class ShareView {
    #name = "NAME";
    #values = [];

    constructor() {
        this.#addAddress("Watch in a browser", () => watchURL(this.#name));
        this.#addAddress("Publish by WHIP", () => whipURL(this.#name));
        this.#addAddress("Play by WHEP", () => whepURL(this.#name));
        this.#addAddress("Play by HLS", () => hlsURL(this.#name));
        this.#addAddress("Play by RTSP", () => rtspURL(this.#name) || "switched off");
        this.#addAddress("WCS WebSocket", webSocketURL, "The default port; the server may be configured otherwise");
        this.#addExamples();
        void rtspKnown.then(() => this.#refresh());
    }

    show(name) {
        this.#name = name || "NAME";
        setText($("connect-name"), name ? `for “${name}”` : "");
        this.#refresh();
    }

    #refresh() {
        for (const { node, text } of this.#values) setText(node, text());
    }

    #addAddress(title, text, hint = "") {
        const node = el("code", { title: hint });
        this.#values.push({ node, text });
        $("urls").append(el("div", {}, el("dt", {}, title), el("dd", {}, node), copyButton(title, text)));
    }

    #addExamples() {
        const tabs = [];
        for (const [title, example] of Object.entries(EXAMPLES)) {
            const id = title.toLowerCase().replaceAll(" ", "-");
            const panel = el("div", {
                className: "example", id: `example-${id}`, role: "tabpanel", "aria-labelledby": `tab-${id}`,
            });
            if (example.note) panel.append(el("p", { className: "muted" }, example.note));
            if (example.steps) panel.append(this.#steps(example));
            const text = () => example.command(this.#name);
            if (!example.steps) {
                const pre = el("pre", { tabIndex: 0, "aria-label": `Example for ${title}` });
                this.#values.push({ node: pre, text });
                panel.append(el("div", { className: "block" }, pre, copyButton(`example for ${title}`, text)));
            }
            const tab = el("button", {
                type: "button", role: "tab", id: `tab-${id}`, "aria-controls": panel.id,
            }, title);
            tabs.push({ tab, panel });
            $("example-tabs").append(tab);
            $("examples").append(panel);
        }
        const choose = (index, focus) => {
            tabs.forEach(({ tab, panel }, each) => {
                tab.setAttribute("aria-selected", String(each === index));
                tab.tabIndex = each === index ? 0 : -1;
                panel.hidden = each !== index;
            });
            if (focus) tabs[index].tab.focus();
        };
        tabs.forEach(({ tab }, index) => {
            tab.addEventListener("click", () => choose(index, false));
            tab.addEventListener("keydown", event => {
                const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
                if (step) choose((index + step + tabs.length) % tabs.length, true);
            });
        });
        choose(0, false);
    }

    #steps(example) {
        const list = el("ol");
        example.steps("").forEach((unused, index) => {
            const item = el("li");
            this.#values.push({ node: item, text: () => example.steps(this.#name)[index] });
            list.append(item);
        });
        return list;
    }
}
