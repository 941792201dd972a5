/// Something about the options that must be changed.
package struct OptionProblem: Error, Equatable, CustomStringConvertible {
    /// As on the command line.
    package let option: String
    package let why: String
    package let remedy: String

    package var description: String { "\(option): \(why); \(remedy)" }
}

extension LoadPlanOptions {
    /// What cannot be run as it is; empty if the load is good.
    package func problems() -> [OptionProblem] {
        var problems: [OptionProblem] = []
        func check(_ isGood: Bool, _ option: String, _ why: String, _ remedy: String) {
            if !isGood { problems.append(OptionProblem(option: option, why: why, remedy: remedy)) }
        }
        func range<Number: Comparable>(_ option: String, _ value: Number, _ allowed: ClosedRange<Number>) {
            check(
                allowed.contains(value), option, "\(value) is out of range",
                "give \(allowed.lowerBound) to \(allowed.upperBound)")
        }

        checkAddresses(check)
        check(
            !prefix.isEmpty && prefix.utf8.count <= Limits.prefixBytes, "--prefix", "\"\(prefix)\" is no good name",
            "give 1 to \(Limits.prefixBytes) bytes")
        range("--publishers", publishers, 1...Limits.publishers)
        check(!players.isEmpty, "--players", "there is no load", "give one number or several, like 100,200,400")
        check(
            players.count <= Limits.steps, "--players", "\(players.count) loads are too many",
            "give at most \(Limits.steps)")
        for count in players { range("--players", count, 0...Limits.players) }
        check(
            zip(players, players.dropFirst()).allSatisfy { $0 < $1 }, "--players",
            "each load must have more players than the one before", "sort the numbers and give each once")
        range("--fps", framesPerSecond, Limits.framesPerSecond)
        range("--bitrate", bitrate, Limits.bitrate)
        range("--key-interval", keyInterval, Limits.keyInterval)
        check(
            [width, height].allSatisfy { Limits.side.contains($0) && $0 % 2 == 0 }, "--size",
            "\(width)x\(height) cannot be encoded",
            "give even numbers from \(Limits.side.lowerBound) to \(Limits.side.upperBound), like 1280x720")
        check(
            framesPerSecond > 0 && 90_000 % framesPerSecond == 0, "--fps",
            "\(framesPerSecond) does not divide the clock of 90 kHz", "give a number like 25, 30 or 60")
        check(
            keyFrameFrames <= Limits.clipFrames, "--key-interval",
            "\(keyInterval) s at \(framesPerSecond) frames/s are more than \(Limits.clipFrames) frames",
            "give fewer seconds or frames per second")
        if hasAudio { range("--audio-bitrate", audioBitrate, Limits.audioBitrate) }
        range("--loss", loss, 0...Limits.loss)
        if let keyRequestInterval { range("--key-requests", keyRequestInterval, 0.1...Limits.duration) }
        range("--ramp", ramp, 0.1...Limits.ramp)
        range("--joins-in-flight", joinsInFlight, 1...Limits.joinsInFlight)
        range("--join-timeout", joinTimeout, 1...Limits.joinTimeout)
        range("--warm-up", warmUp, 0...Limits.warmUp)
        range("--duration", duration, 1...Limits.duration)
        range("--repeat", repeats, 1...Limits.repeats)
        range("--threads", threads, 1...Limits.threads)
        if let pin { range("--pin", pin, 0...1_023) }
        if let limitLoss { range("--limit-loss", limitLoss, 0...1) }
        if let limitDelayP99 {
            check(limitDelayP99 > 0, "--limit-delay-p99", "\(limitDelayP99) is no limit", "give milliseconds, like 100")
        }
        if let churn {
            range("--churn", churn.joinsPerSecond, 0.1...Limits.ramp)
            range("--churn-stay", churn.staySeconds, 0...Limits.stay)
            range("--churn-at-most", churn.atMost, 1...Limits.churnAtMost)
        }
        let total = (warmUp + duration) * Double(players.count * repeats)
        check(
            total <= Limits.total, "--duration", "all measurements together would take \(Int(total)) s",
            "give fewer or shorter ones, at most \(Int(Limits.total)) s in all")
        return problems
    }

    private func checkAddresses(_ check: (Bool, String, String, String) -> Void) {
        let wantsWebSocket = signalling == .wcs
        do throws(SignallingFailure) {
            let scheme = try ServiceURL(url).scheme
            check(
                scheme.isWebSocket == wantsWebSocket, "--url",
                "\(scheme.rawValue):// does not go with --protocol \(signalling.rawValue)",
                wantsWebSocket ? "give ws:// or wss://" : "give http:// or https://")
        } catch {
            check(false, "--url", "\"\(url)\" is no usable address", "give one like http://HOST:8080 or ws://HOST:8080")
        }
        for (option, template) in [("--publish-url", publishURL), ("--play-url", playURL)] {
            guard let template else { continue }
            check(!wantsWebSocket, option, "WCS has no such address", "use it with --protocol whip")
            check(template.contains("{name}"), option, "{name} is missing", "write it where the stream's name belongs")
        }
    }

    /// Frames from key frame to key frame.
    package var keyFrameFrames: Int { max(1, Int((keyInterval * Double(framesPerSecond)).rounded())) }

    /// Sockets that the load has open at most, and some more for connections of the signalling and files.
    package var neededFiles: Int {
        let peers = publishers + (players.max() ?? 0) + (churn?.atMost ?? 0)
        return (signalling == .wcs ? 2 * peers : peers) + joinsInFlight + Self.spareFiles
    }

    private static let spareFiles = 128
}
