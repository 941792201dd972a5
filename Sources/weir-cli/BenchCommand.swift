import ArgumentParser
import Glibc
import LoadGenerator
import Weir

/// The options as they are on the command line; `plan` makes the load of them.
struct BenchOptions: ParsableArguments {
    @Option(help: "The server: http(s)://HOST:PORT for whip, ws(s)://HOST:PORT for wcs.")
    var url: String

    @Option(name: .customLong("protocol"), help: "whip (with whep for players) or wcs.")
    var signalling = LoadPlanOptions.SignallingProtocol.whip

    @Option(help: "Where publishers POST to, if not URL/whip/{name}; for servers with other paths.")
    var publishURL: String?

    @Option(help: "Where players POST to, if not URL/whep/{name}.")
    var playURL: String?

    @Option(help: "Token for Authorization: Bearer; with wcs for custom.token.")
    var token: String?

    @Flag(help: "Do not verify the server's certificate.")
    var insecure = false

    @Option(help: "Streams are called PREFIX-0, PREFIX-1, …")
    var prefix = "bench"

    @Option(help: "Streams that are published.")
    var publishers = 1

    @Option(help: "Players in all, spread over the streams. Several numbers are measured one by one: 100,200,400")
    var players: PlayerCounts

    @Option(help: "h264 or vp8.")
    var codec = LoadPlanOptions.Video.h264

    @Option(help: "Of the video in bit/s, or like 150k or 2M.")
    var bitrate = BitrateArgument(2_000_000)

    @Option(help: "Frames per second.")
    var fps = 30

    @Option(help: "Seconds from key frame to key frame.")
    var keyInterval = 2.0

    @Option(help: "Of the picture.")
    var size = SizeArgument(1_280, 720)

    @Flag(inversion: .prefixedNo, help: "Opus beside the video.")
    var audio = true

    @Option(help: "Of the audio in bit/s.")
    var audioBitrate = BitrateArgument(48_000)

    @Option(help: "SRTP profile to offer: aes-cm, gcm or gcm256.")
    var srtp = LoadPlanOptions.Protection.aesCM

    @Option(help: "Share of the packets that players throw away as if the network had: 0.01 or 1%.")
    var loss = ShareArgument(0)

    @Option(help: "Seconds between two key-frame requests (PLI) of each player; without it only who needs one asks.")
    var keyRequests: Double?

    @Option(help: "Seed of the losses.")
    var seed: UInt64 = 1

    @Option(help: "Joins per second.")
    var ramp = 50.0

    @Option(help: "Joins under way at once, at most.")
    var joinsInFlight = 32

    @Option(help: "Seconds for a join, from the server's answer to the first picture.")
    var joinTimeout = 15.0

    @Option(help: "Seconds from the last join to the measurement.")
    var warmUp = 3.0

    @Option(help: "Seconds of each measurement.")
    var duration = 10.0

    @Option(help: "Joins per second of players that come and go during the measurement; they are not measured.")
    var churn: Double?

    @Option(help: "Seconds that each of them stays after its first picture.")
    var churnStay = 1.0

    @Option(help: "How many of them may be there at once.")
    var churnAtMost = 600

    @Option(name: .customLong("repeat"), help: "Run the whole load this often and show medians.")
    var repeats = 1

    @Option(help: "Media threads of the generator.")
    var threads = 1

    @Option(help: "Processor of the first media thread, counted from 0.")
    var pin: Int?

    @Option(help: "Process id of the server, if it runs on this machine: for CPU, memory, switches and system calls.")
    var serverPid: Int32?

    @Option(help: "Bar: status 1 if more than this share of the packets is lost, like 0.1%.")
    var limitLoss: ShareArgument?

    @Option(help: "Bar: status 1 if the 99th percentile of the video's delay is longer, in milliseconds.")
    var limitDelayP99: Double?

    @Option(help: "File for the report as JSON.", completion: .file(extensions: ["json"]))
    var json: String?

    @Option(help: "File for a plot (SVG) of load against delay and loss.", completion: .file(extensions: ["svg"]))
    var plot: String?

    func validate() throws {
        let problems = plan.problems()
        guard problems.isEmpty else {
            throw ValidationError(problems.map(\.description).joined(separator: "\n       "))
        }
    }

    var plan: LoadPlanOptions {
        var plan = LoadPlanOptions()
        (plan.url, plan.signalling, plan.publishURL, plan.playURL) = (url, signalling, publishURL, playURL)
        (plan.insecure, plan.prefix) = (insecure, prefix)
        (plan.publishers, plan.players) = (publishers, players.counts)
        (plan.video, plan.bitrate, plan.framesPerSecond) = (codec, bitrate.bitsPerSecond, fps)
        (plan.keyInterval, plan.width, plan.height) = (keyInterval, size.width, size.height)
        (plan.hasAudio, plan.audioBitrate) = (audio, audioBitrate.bitsPerSecond)
        (plan.protection, plan.loss, plan.seed) = (srtp, loss.share, seed)
        plan.keyRequestInterval = keyRequests
        (plan.ramp, plan.joinsInFlight, plan.joinTimeout) = (ramp, joinsInFlight, joinTimeout)
        (plan.warmUp, plan.duration, plan.repeats) = (warmUp, duration, repeats)
        plan.churn = churn.map {
            LoadPlanOptions.Churn(joinsPerSecond: $0, staySeconds: churnStay, atMost: churnAtMost)
        }
        (plan.threads, plan.pin, plan.serverPID) = (threads, pin, serverPid)
        (plan.limitLoss, plan.limitDelayP99) = (limitLoss?.share, limitDelayP99)
        return plan
    }
}

struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Put a load on a WHIP/WHEP or WCS server and measure what its players receive.",
        discussion: """
            Publishers send real video and audio, players receive with ICE, DTLS and SRTP on sockets of their own. \
            Example: weir bench --url http://127.0.0.1:8081 --players 100,200,400 --server-pid $(pidof weir)

            Status 0: the load ran as it was asked for and met its bars. 1: it did not, or missed one. 64: an option is \
            wrong. 130: interrupted (what was measured until then is reported).
            """)

    @OptionGroup var options: BenchOptions

    func run() async throws {
        let plan = options.plan
        let (signalling, probe, mediaPlan) = try prepare(plan)
        let runner = LoadRunner(
            options: plan, signalling: signalling, probe: probe, progress: { Self.print(line: $0, to: STDERR_FILENO) },
            makeMedia: { try LoadMedia(mediaPlan) })
        let load = Task { await runner.run(generator: BuildInfo.current.description) }
        let signals = SignalWatch()
        let watch = Task { if await signals.first() { load.cancel() } }
        let report = await load.value
        signals.stop()
        await watch.value

        Self.print(line: report.table(), to: STDOUT_FILENO)
        if let path = options.json { try Self.write(try report.json(), to: path) }
        if let path = options.plot { try Self.write(report.plot(), to: path) }
        if report.isInterrupted { throw ExitCode(Self.interrupted) }
        if !report.isGood { throw ExitCode.failure }
    }

    /// Finds out what cannot work before anything is sent.
    private func prepare(_ plan: LoadPlanOptions) throws -> (any Signalling, ServerProbe?, MediaPlan) {
        do {
            for path in [options.json, options.plot].compactMap(\.self) { try Self.write(nil, to: path) }
            try FileLimit.raise(to: plan.neededFiles)
            return (
                try plan.makeSignalling(token: options.token), try plan.serverPID.map { try ServerProbe(process: $0) },
                try plan.makeMediaPlan()
            )
        } catch {
            throw ValidationError("\(error)")
        }
    }

    /// As shells report a program that SIGINT ended.
    private static let interrupted: Int32 = 130

    // MARK: Output

    private struct CannotWrite: Error, CustomStringConvertible {
        let description: String
    }

    /// - Parameter text: nil: only finds out whether the file can be written.
    private static func write(_ text: String?, to path: String) throws {
        let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (text == nil ? 0 : O_TRUNC), 0o644)
        guard file >= 0 else {
            throw CannotWrite(
                description: "\(path) cannot be written: \(String(cString: strerror(errno))); choose another file")
        }
        defer { close(file) }
        guard let text else { return }
        guard writeAll(text, to: file) else {
            throw CannotWrite(description: "\(path) cannot be written: \(String(cString: strerror(errno)))")
        }
    }

    private static func print(line: String, to file: Int32) {
        _ = writeAll(line.hasSuffix("\n") ? line : line + "\n", to: file)
    }

    private static func writeAll(_ text: String, to file: Int32) -> Bool {
        let bytes = Array(text.utf8)
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            done += count
        }
        return true
    }
}
