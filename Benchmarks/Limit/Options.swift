/// What the command line asks for. Hand-written parsing: the limit program must build in seconds, without packages.
struct Options {
    var destinations = 400
    var runs = [8]
    var ciphers = Cipher.allCases
    /// Share of the packets that are small ones, sent as messages of their own.
    var audio = 0.0
    var audioBytes = 160
    var packetBytes = 1200
    var headerBytes = 12
    /// Messages of one `sendmmsg`.
    var batch = 64
    /// Wall time of each measurement.
    var seconds = 1.0
    /// Every figure is the median of so many measurements.
    var rounds = 1
    var cpu = 0
    /// -1: not pinned.
    var drainCPU = 1
    var json = false
    var help = false

    static let usage = """
        weir-limit: what one fan-out core must spend per packet, whatever the server does

          --destinations N     receiving sockets, each under keys of its own (400)
          --run LIST           packets of 1,200 bytes per destination and burst, sent as one GSO message (8)
          --ciphers LIST       of \(Cipher.allCases.map(\.name).joined(separator: ",")) (all)
          --audio SHARE        of the packets that are small and outside GSO runs, 0 to 0.9 (0); Weir's bars use 0.18
          --bytes N            RTP packet with its header, without the tag (1200)
          --audio-bytes N      likewise, of a small one (160)
          --header 12|20       RTP header without or with a header extension (12)
          --batch N            messages per sendmmsg, 1 to 64 (64)
          --seconds S          wall time of each measurement, 0.05 to 60 (1)
          --rounds N           measurements of which the median is printed, 1 to 99 (1)
          --cpu N              processor of the sending thread (0)
          --drain-cpu N        processor of the draining thread; -1 leaves it free (1)
          --json               machine-readable output
        """

    init(_ arguments: [String]) throws(UsageError) {
        var rest = arguments[...]
        while let name = rest.popFirst() {
            switch name {
            case "--help", "-h": help = true
            case "--json": json = true
            default:
                guard Self.usage.contains("\n  \(name) ") else { throw UsageError("no option '\(name)'") }
                guard let value = rest.popFirst() else { throw UsageError("\(name) needs a value") }
                try set(name, value)
            }
        }
        let largest = packetBytes + Self.longestTag
        for run in runs where run * largest > Self.maxMessage {
            throw UsageError("a run of \(run) packets does not fit a message: at most \(Self.maxMessage / largest)")
        }
        guard audioBytes > headerBytes, packetBytes > headerBytes else {
            throw UsageError("packets must be longer than their header of \(headerBytes) bytes")
        }
    }

    private static let longestTag = 16
    /// Bytes of one UDP datagram before the kernel cuts it.
    private static let maxMessage = 65_507
    private static let maxPacket = 2048
    private static let maxCPU = 1023

    private mutating func set(_ name: String, _ value: String) throws(UsageError) {
        switch name {
        case "--destinations": destinations = try number(name, value, 1...8192)
        case "--run": runs = try list(name, value) { part throws(UsageError) in try number(name, part, 1...54) }
        case "--ciphers":
            ciphers = try list(name, value) { part throws(UsageError) in
                guard let cipher = Cipher.allCases.first(where: { $0.name == part }) else {
                    throw UsageError("no cipher '\(part)'")
                }
                return cipher
            }
        case "--audio": audio = try real(name, value, 0...0.9)
        case "--bytes": packetBytes = try number(name, value, 64...Self.maxPacket)
        case "--audio-bytes": audioBytes = try number(name, value, 32...Self.maxPacket)
        case "--header":
            headerBytes = try number(name, value, 12...20)
            guard headerBytes == 12 || headerBytes == 20 else { throw UsageError("--header is 12 or 20") }
        case "--batch": batch = try number(name, value, 1...64)
        case "--seconds": seconds = try real(name, value, 0.05...60)
        case "--rounds": rounds = try number(name, value, 1...99)
        case "--cpu": cpu = try number(name, value, 0...Self.maxCPU)
        case "--drain-cpu": drainCPU = try number(name, value, -1...Self.maxCPU)
        default: throw UsageError("no option '\(name)'")
        }
    }

    private func number(_ name: String, _ value: String, _ range: ClosedRange<Int>) throws(UsageError) -> Int {
        guard let number = Int(value), range.contains(number) else {
            throw UsageError("\(name) takes \(range.lowerBound) to \(range.upperBound), not '\(value)'")
        }
        return number
    }

    private func real(_ name: String, _ value: String, _ range: ClosedRange<Double>) throws(UsageError) -> Double {
        guard let number = Double(value), range.contains(number) else {
            throw UsageError("\(name) takes \(range.lowerBound) to \(range.upperBound), not '\(value)'")
        }
        return number
    }

    private func list<T>(
        _ name: String, _ value: String, _ parse: (String) throws(UsageError) -> T
    ) throws(UsageError) -> [T] {
        var out: [T] = []
        for part in value.split(separator: ",") { out.append(try parse(String(part))) }
        guard !out.isEmpty else { throw UsageError("\(name) needs at least one value") }
        return out
    }
}

struct UsageError: Error {
    let message: String
    init(_ message: String) { self.message = message }
}
