import Foundation
import RTSP
import RTSPPull
import TestSupport
import Testing
import Wire

/// Sources that are read by processes: what these do wrong hurts nobody. The processes are shell scripts.
@Suite(.timeLimit(.minutes(2))) struct ProcessTests {
    private static let url = "http://198.51.100.7/x"

    /// A script in the place of the program.
    private final class Script: Sendable {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("weir-\(UUID().uuidString)").path

        init(_ text: String) throws {
            // Its own number first, for those that are to be found.
            try "echo $$ > \(path).pid\n\(text)".write(toFile: path, atomically: true, encoding: .utf8)
        }

        deinit {
            try? FileManager.default.removeItem(atPath: path)
            try? FileManager.default.removeItem(atPath: path + ".pid")
        }

        var pid: Int32? {
            guard let text = try? String(contentsOfFile: path + ".pid", encoding: .utf8) else { return nil }
            return Int32(text.trimmingCharacters(in: .whitespacesAndNewlines))
        }

        /// Waits until it runs.
        func started() async throws -> Int32 {
            while true {
                if let pid { return pid }
                try await Task.sleep(for: .milliseconds(10))
            }
        }

        func settings(_ change: (inout RTSPPullSettings) -> Void = { _ in }) -> RTSPPullSettings {
            var settings = RTSPPullSettings()
            var process = SourceProcessSettings()
            (process.program, process.command) = ("/bin/sh", path)
            settings.process = process
            settings.policy.attempts = 0
            settings.hostGuard.allow(networks: ["198.51.100.0/24"])
            change(&settings)
            return settings
        }
    }

    private static func run(_ text: String, _ sink: Sink = Sink()) async throws -> RTSPPullFailure {
        let script = try Script(text)
        return await RTSPPuller(url: url, settings: script.settings(), sink: sink).run()
    }

    /// Until it has been waited for: one that is dead and not reaped is still there.
    private static func isGone(_ pid: Int32) async throws {
        while kill(pid, 0) == 0 { try await Task.sleep(for: .milliseconds(10)) }
        #expect(errno == ESRCH)
    }

    @Test(
        arguments: [
            ("printf 'RTSP/1.0 500 No\\r\\nFailure: notFound\\r\\n\\r\\n' >&3", .notFound),
            (
                "printf 'RTSP/1.0 500 No\\r\\nFailure: noCommonCodecs\\r\\nDetail: mpeg4 mp3\\r\\n\\r\\n' >&3",
                .noCommonCodecs(["mpeg4", "mp3"])
            ),
            ("printf 'RTSP/1.0 500 No\\r\\nFailure: something\\r\\n\\r\\n' >&3", .malformed),
            ("printf 'RTSP/1.0 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nv=0\\n' >&3; sleep 60", .badDescription),
            ("printf 'what is this\\n\\n' >&3; sleep 60", .malformed),
            ("head -c 1000000 /dev/zero >&3; sleep 60", .malformed),
            ("kill -9 $$", .processEnded("signal 9")),
            ("echo out of cheese >&2; exit 3", .processEnded("status 3: out of cheese ")),
            ("exec 3>&-; exit 0", .processEnded("status 0")),
        ] as [(String, RTSPPullFailure)])
    func whatItSaysIsTold(script: String, expected: RTSPPullFailure) async throws {
        let failure = try await Self.run(script)
        #expect(failure == expected)
    }

    @Test func itsMediaIsTheSources() async throws {
        let sink = Sink()
        let failure = try await Self.run(
            """
            read line <&3
            case "$line" in DESCRIBE*198.51.100.7*) ;; *) exit 9 ;; esac
            sdp=$(printf 'v=0\\r\\nm=video 0 RTP/AVP 96\\r\\na=rtpmap:96 VP8/90000\\r\\n.')
            sdp=${sdp%.}
            printf 'RTSP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s' ${#sdp} "$sdp" >&3
            printf '$\\001\\000\\002ab$\\000\\000\\003cde$\\007\\000\\001x$\\001\\000\\002fg' >&3
            printf 'RTSP/1.0 500 No\\r\\nFailure: finished\\r\\n\\r\\n' >&3
            """, sink)
        #expect(failure == .finished)
        // Media begins with the first packet of media, and tracks that are not described are nobody's.
        #expect(
            sink.events.value == [
                .begin([.vp8]), .packet(0, Array("cde".utf8)), .packet(0, Array("fg".utf8)),
                .interrupted(.finished, retry: false),
            ])
    }

    @Test func oneThatCrashesIsBegunAnew() async throws {
        let script = try Script("kill -11 $$")
        let sink = Sink()
        let puller = RTSPPuller(
            url: Self.url, settings: script.settings { $0.policy.attempts = 2 }, sink: sink, sleep: { _ in })
        #expect(await puller.run() == .processEnded("signal 11"))
        #expect(sink.events.value.count == 3)
    }

    /// Nothing that it does keeps it alive.
    @Test func oneThatIsNotWantedEndsWhetherItWantsOrNot() async throws {
        let script = try Script("trap '' TERM; while :; do sleep 1; done")
        let puller = RTSPPuller(url: Self.url, settings: script.settings(), sink: Sink())
        let run = Task { await puller.run() }
        let pid = try await script.started()
        run.cancel()
        #expect(await run.value == .shutdown)
        try await Self.isGone(pid)
    }

    @Test func oneThatSaysNothingIsNotWaitedFor() async throws {
        let script = try Script("while :; do sleep 1; done")
        let settings = script.settings { $0.process?.openingLimit = .milliseconds(100) }
        let failure = await RTSPPuller(url: Self.url, settings: settings, sink: Sink()).run()
        #expect(failure == .connect("the process has not answered in time"))
        if let pid = script.pid { try await Self.isGone(pid) }
    }

    @Test(
        arguments: [
            ("http://127.0.0.1:8080/", .refusedHost(.address)), ("http://198.51.100.7:22/", .refusedHost(.port)),
            ("srt://[::1]:9000", .refusedHost(.address)), ("ftp://198.51.100.7/", .badURL),
        ] as [(String, RTSPPullFailure)])
    func whatIsNotAllowedHasNoProcess(url: String, expected: RTSPPullFailure) async throws {
        let script = try Script("sleep 60")
        let failure = await RTSPPuller(url: url, settings: script.settings(), sink: Sink()).run()
        #expect(failure == expected && script.pid == nil)
    }

    @Test func withoutProcessesThereAreNoSuchSources() async {
        let settings = RTSPPullSettings()
        let failure = await RTSPPuller(url: Self.url, settings: settings, sink: Sink()).run()
        #expect(failure == .badURL)
    }

    @Test func aProgramThatIsNotThereIsTold() async throws {
        let script = try Script("")
        let settings = script.settings { $0.process?.program = "/no/such/program" }
        let failure = await RTSPPuller(url: Self.url, settings: settings, sink: Sink()).run()
        #expect(failure == .connect("a process for the source cannot be started: No such file or directory"))
    }
}
