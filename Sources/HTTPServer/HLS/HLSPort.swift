import Glibc
import HTTPTypes
import NIOCore
import Synchronization
import WeirMetrics

/// What the connections of all ports share that answer HLS themselves.
final class HLSPort: Sendable {
    let desk: HLSDesk
    let files = HLSMemoryFiles()
    let date = HTTPDate()
    /// Answers of a connection that may wait for a viewer to read.
    let maxUnsent = 2
    let idleTimeout: TimeAmount
    /// They hold their loops, so none is taken for another.
    private let loops = Mutex<[ObjectIdentifier: NIOLoopBound<HLSLoop>]>([:])
    private let requests: RequestMetrics
    private let answered: [Int: Counter]

    init(desk: HLSDesk, metrics: MetricsRegistry, idleTimeout: Duration) {
        self.desk = desk
        self.idleTimeout = .nanoseconds(Int64((idleTimeout / .nanoseconds(1)).rounded()))
        let requests = RequestMetrics(metrics)
        self.requests = requests
        let usual = [200, 206, 304, 400, 404, 416, 503]
        answered = Dictionary(
            uniqueKeysWithValues: usual.map { ($0, requests.counter(route: nil, method: .get, status: $0)) })
    }

    /// On that loop.
    func shared(on loop: any EventLoop) -> HLSLoop {
        loops.withLock { loops in
            if let known = loops[ObjectIdentifier(loop)] { return known }
            let made = NIOLoopBound(HLSLoop(), eventLoop: loop)
            loops[ObjectIdentifier(loop)] = made
            return made
        }.value
    }

    /// As the router's requests are counted.
    func count(_ request: HLSRequest, _ status: HTTPResponse.Status, _ time: TimeAmount) {
        desk.counters.requests(request.path.resource).increment()
        requests.seconds.observe(Double(time.nanoseconds) / 1e9)
        if !request.isHead, let counter = answered[status.code] {
            counter.increment()
        } else {
            requests.counter(route: nil, method: request.isHead ? .head : .get, status: status.code).increment()
        }
    }
}

/// The `Date` field's value, made once a second (RFC 9110 §5.6.7).
final class HTTPDate: Sendable {
    private static let maxBytes = 40
    private let last = Mutex<(second: time_t, text: String)>((-1, ""))

    var text: String {
        let second = time(nil)
        return last.withLock { last in
            if last.second != second { last = (second, Self.format(second)) }
            return last.text
        }
    }

    static func format(_ second: time_t) -> String {
        var (second, parts) = (second, tm())
        gmtime_r(&second, &parts)
        return String(unsafeUninitializedCapacity: maxBytes) { bytes in
            bytes.withMemoryRebound(to: CChar.self) {
                strftime($0.baseAddress, maxBytes, "%a, %d %b %Y %H:%M:%S GMT", &parts)
            }
        }
    }
}
