import ControlPlane
import HLS
import HTTPServer
import MediaFormats
import Synchronization
import Wire

/// Streams made of counted bytes, and a backend that decides as it is told.
final class FakeHLS: HLSBackend {
    struct State: Sendable {
        var streams: [String: HLSStream] = [:]
        var decision = HookDecision.allow
        var endsIn: Duration?
        var viewers: [ViewerRequest] = []
        var refusal: String?
        var now = Instant.zero + .seconds(10)
    }

    let state = Mutex(State())

    var now: Instant { state.withLock { $0.now } }

    func stream(named name: String) async -> HLSLookup {
        state.withLock { state in
            if let refusal = state.refusal { return .refused(refusal) }
            return state.streams[name].map(HLSLookup.stream) ?? .notFound
        }
    }

    func running(named name: String) -> HLSStream? { state.withLock { $0.streams[name] } }

    var all: [HLSStream] { state.withLock { $0.streams.values.sorted { $0.name < $1.name } } }

    func terminate(_ name: String) -> Bool { state.withLock { $0.streams.removeValue(forKey: name) } != nil }

    func play(_ viewer: ViewerRequest) async -> ViewerAdmission {
        state.withLock { state in
            state.viewers.append(viewer)
            return ViewerAdmission(state.decision, endsIn: state.endsIn)
        }
    }

    /// A stream of so many segments of two parts, of so many bytes each.
    @discardableResult
    func add(_ name: String, segments: Int = 4, bytes: Int = 100) -> HLSStream {
        var settings = HLSStream.Settings()
        settings.window.partTarget = .seconds(1)
        let token = Mutex(0)
        let window = StreamWindow(renditions: ["main"], settings: settings.window) {
            token.withLock { number in
                number += 1
                return "t\(number)"
            }
        }
        let stream = HLSStream(
            name: name, id: "id-\(name)", plan: RenditionPlan(renditions: [.init(name: "main", tracks: [0])]),
            settings: settings,
            window: window, clock: { [self] in state.withLock { $0.now } }, store: { HLSBytes($0) })
        for number in 0..<segments { grow(stream, number, bytes: bytes) }
        state.withLock { $0.streams[name] = stream }
        return stream
    }

    func grow(_ stream: HLSStream, _ number: Int, bytes: Int = 100) {
        let now = state.withLock { $0.now }
        let track = OutputTrack(configuration: .opus(channels: 2))
        var output = HLSProducer.Output()
        output.changes.append(
            .begin(
                .init(
                    time: .seconds(2 * Int64(number)), programDate: Int64(number) * 2_000_000_000,
                    isDiscontinuity: false, isIndependent: true, tracks: number == 0 ? [track] : nil),
                maps: number == 0 ? [[UInt8](repeating: 9, count: 50)] : nil))
        for part in 0..<2 {
            output.changes.append(
                .part(
                    duration: .seconds(1),
                    media: [(0..<bytes).map { UInt8(number * 10 + part) &+ UInt8(truncatingIfNeeded: $0) }],
                    isIndependent: [true], pictures: []))
        }
        output.changes.append(.endSegment)
        stream.apply(output, now: now)
    }
}
