import LoadGenerator
import Testing

@Suite struct LoadPlanOptionsTests {
    private func problems(_ change: @Sendable (inout LoadPlanOptions) -> Void) -> [String] {
        var options = LoadPlanOptions()
        change(&options)
        return options.problems().map(\.option)
    }

    @Test func plainOptionsAreGood() {
        #expect(problems { _ in } == [])
        #expect(problems { $0.players = [100, 200, 20_000] } == [])
        #expect(problems { $0.players = [0] } == [], "publishers alone are a load, too")
    }

    static let bad: [(String, @Sendable (inout LoadPlanOptions) -> Void)] = [
        ("--url", { $0.url = "localhost" }), ("--url", { $0.url = "ws://h" }),
        ("--url", { $0.signalling = .wcs }), ("--play-url", { $0.playURL = "http://h/whep" }),
        ("--prefix", { $0.prefix = "" }), ("--publishers", { $0.publishers = 0 }),
        ("--publishers", { $0.publishers = 2_001 }), ("--players", { $0.players = [] }),
        ("--players", { $0.players = [20_001] }), ("--players", { $0.players = [-1] }),
        ("--players", { $0.players = [200, 100] }), ("--players", { $0.players = [5, 5] }),
        ("--players", { $0.players = Array(1...51) }), ("--fps", { $0.framesPerSecond = 7 }),
        ("--bitrate", { $0.bitrate = 1_000 }), ("--key-interval", { $0.keyInterval = 0 }),
        ("--key-interval", { ($0.keyInterval, $0.framesPerSecond) = (60, 60) }),
        ("--size", { $0.width = 101 }), ("--size", { $0.height = 10_000 }),
        ("--audio-bitrate", { $0.audioBitrate = 1 }), ("--loss", { $0.loss = 0.6 }), ("--loss", { $0.loss = .nan }),
        ("--ramp", { $0.ramp = 0 }), ("--joins-in-flight", { $0.joinsInFlight = 257 }),
        ("--join-timeout", { $0.joinTimeout = 61 }), ("--warm-up", { $0.warmUp = 601 }),
        ("--duration", { $0.duration = 3_601 }), ("--duration", { $0.duration = 0.5 }),
        ("--duration", { ($0.duration, $0.repeats) = (3_600, 20) }), ("--repeat", { $0.repeats = 0 }),
        ("--threads", { $0.threads = 0 }), ("--pin", { $0.pin = -1 }), ("--limit-loss", { $0.limitLoss = 2 }),
        ("--limit-delay-p99", { $0.limitDelayP99 = 0 }),
        ("--churn", { $0.churn = .init(joinsPerSecond: 2_000, staySeconds: 1, atMost: 1) }),
        ("--churn-stay", { $0.churn = .init(joinsPerSecond: 1, staySeconds: -1, atMost: 1) }),
        ("--churn-at-most", { $0.churn = .init(joinsPerSecond: 1, staySeconds: 1, atMost: 5_001) }),
    ]

    @Test(arguments: bad.indices) func boundsNameTheOption(_ index: Int) {
        let (option, change) = Self.bad[index]
        #expect(problems(change) == [option])
    }

    @Test func problemSaysWhatToDo() {
        var options = LoadPlanOptions()
        options.players = [30_000]
        #expect(options.problems().map(\.description) == ["--players: 30000 is out of range; give 0 to 20000"])
    }

    @Test func filesAreCounted() {
        var options = LoadPlanOptions()
        (options.publishers, options.players, options.joinsInFlight) = (10, [100, 500], 32)
        let whip = options.neededFiles
        #expect(whip >= 10 + 500 + 32)
        options.signalling = .wcs
        #expect(options.neededFiles - whip == 510, "a WebSocket each")
    }

    @Test func fileLimitCannotGrowWithoutBound() {
        #expect(throws: OptionProblem.self) { try FileLimit.raise(to: .max) }
    }
}
