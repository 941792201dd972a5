import CLimit
import Glibc

/// The measurements of one run of the program.
struct Bench {
    let options: Options
    private let limit: OpaquePointer

    /// Nanoseconds per packet: medians of the rounds.
    struct Cost {
        var cpu = 0.0
        var wall = 0.0
    }

    struct Figure {
        let cipher: Cipher
        let run: Int
        var crypto = Cost()
        var sending = Cost()
        var packets: Int64 = 0
        var audioPackets: Int64 = 0
        var calls: Int64 = 0
        var delivered: Int64 = 0
        var dropped: Int64 = 0
        /// Wall time that the sender stood still for the drain, over that and its working time.
        var waited = 0.0
    }

    struct Report {
        var library: String
        var calibrationCrypto = Cost()
        var calibration = Cost()
        var calibrationSamples: [Double] = []
        var calibrationDropped: Int64 = 0
        var figures: [Figure] = []
        var unavailable: [Cipher] = []
    }

    init(_ options: Options) throws(Failure) {
        self.options = options
        guard let limit = weir_limit_new(Int32(options.destinations)) else {
            throw Failure("cannot set up \(options.destinations) destinations: \(String(cString: strerror(errno)))")
        }
        self.limit = limit
    }

    func close() { weir_limit_free(limit) }

    func measure() throws(Failure) -> Report {
        // The drain first: it must not inherit the sender's processor.
        try demand(weir_limit_start_drain(limit, Int32(options.drainCPU)), "pin the drain to CPU \(options.drainCPU)")
        try demand(weir_limit_pin(Int32(options.cpu)), "pin the sender to CPU \(options.cpu)")
        var report = Report(library: String(cString: weir_limit_ipsecmb(limit)))
        var combinations: [(cipher: Cipher, run: Int)] = []
        for cipher in options.ciphers {
            guard weir_limit_has(limit, cipher.code) == 1 else {
                report.unavailable.append(cipher)
                continue
            }
            for run in options.runs { combinations.append((cipher, run)) }
        }
        for combination in combinations {
            var load = load(combination.cipher, run: combination.run)
            guard weir_limit_check(limit, &load) == 1 else {
                throw Failure("\(combination.cipher.name) does not give the bytes that OpenSSL gives")
            }
        }
        // Rounds outside, so that a slow spell of the machine meets all alike.
        var samples = combinations.map { _ in [(crypto: weir_limit_result, sending: weir_limit_result)]() }
        var calibrations: [(crypto: weir_limit_result, sending: weir_limit_result)] = []
        for _ in 0..<options.rounds {
            calibrations.append(try both(calibrationLoad))
            for (i, combination) in combinations.enumerated() {
                samples[i].append(try both(load(combination.cipher, run: combination.run)))
            }
        }
        // Once more at the end: how far the two differ tells how steady the machine was.
        calibrations.append(try both(calibrationLoad))
        report.calibrationCrypto = cost(calibrations.map(\.crypto))
        report.calibration = cost(calibrations.map(\.sending))
        report.calibrationSamples = calibrations.map { perPacket($0.sending.cpu_ns, $0.sending) }
        report.calibrationDropped = calibrations.reduce(0) { $0 + $1.sending.dropped }
        for (i, combination) in combinations.enumerated() {
            let sending = samples[i].map(\.sending)
            var figure = Figure(cipher: combination.cipher, run: combination.run)
            figure.crypto = cost(samples[i].map(\.crypto))
            figure.sending = cost(sending)
            figure.packets = sending.reduce(0) { $0 + $1.packets }
            figure.audioPackets = sending.reduce(0) { $0 + $1.audio_packets }
            figure.calls = sending.reduce(0) { $0 + $1.calls }
            figure.delivered = sending.reduce(0) { $0 + $1.delivered }
            figure.dropped = sending.reduce(0) { $0 + $1.dropped }
            let waited = sending.reduce(0) { $0 + $1.waited_ns }
            let worked = sending.reduce(0) { $0 + $1.wall_ns }
            figure.waited = Double(waited) / Double(max(1, waited + worked))
            report.figures.append(figure)
        }
        return report
    }

    /// What takes the machine's speed out of figures: `sendmmsg` of 64 packets of 1,200 bytes, no GSO, each encrypted
    /// with OpenSSL's AES-CM and HMAC-SHA1 in one kept context.
    private var calibrationLoad: weir_limit_load {
        var load = load(.cmEVP, run: 1)
        load.gso = 0
        load.one_key = 1
        load.audio = 0
        load.packet_bytes = 1200
        load.header_bytes = 12
        load.batch = 64
        return load
    }

    private func load(_ cipher: Cipher, run: Int) -> weir_limit_load {
        weir_limit_load(
            cipher: cipher.code, run: Int32(run), gso: 1, one_key: 0, packet_bytes: Int32(options.packetBytes),
            header_bytes: Int32(options.headerBytes), audio_bytes: Int32(options.audioBytes), audio: options.audio,
            batch: Int32(options.batch), send: 1, seconds: options.seconds)
    }

    private func both(
        _ load: weir_limit_load
    ) throws(Failure) -> (crypto: weir_limit_result, sending: weir_limit_result) {
        var load = load
        load.send = 0
        let crypto = weir_limit_run(limit, &load)
        try demand(crypto.error, "encrypt")
        load.send = 1
        let sending = weir_limit_run(limit, &load)
        try demand(sending.error, "send")
        return (crypto, sending)
    }

    private func perPacket(_ nanoseconds: Int64, _ result: weir_limit_result) -> Double {
        Double(nanoseconds) / Double(max(1, result.packets))
    }

    private func cost(_ results: [weir_limit_result]) -> Cost {
        Cost(
            cpu: Self.median(results.map { perPacket($0.cpu_ns, $0) }),
            wall: Self.median(results.map { perPacket($0.wall_ns, $0) }))
    }

    static func median(_ values: [Double]) -> Double {
        guard !values.isEmpty else { return 0 }
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    private func demand(_ error: Int32, _ what: String) throws(Failure) {
        guard error != 0 else { return }
        throw Failure("cannot \(what): \(String(cString: strerror(error)))")
    }
}

struct Failure: Error {
    let message: String
    init(_ message: String) { self.message = message }
}
