extension Bench {
    func table(_ report: Report) -> String {
        var out = """
            \(options.destinations) destinations, packets of \(options.packetBytes) bytes, \
            header \(options.headerBytes), \(decimal(options.audio * 100, 1)) % of \(options.audioBytes) bytes \
            outside GSO; up to \(options.batch) messages per sendmmsg
            sender on CPU \(options.cpu), drain on \
            \(options.drainCPU < 0 ? "any" : "CPU \(options.drainCPU)"); ipsec-mb: \(report.library); \
            medians of \(options.rounds) x \(decimal(options.seconds, 2)) s; nanoseconds per packet

            calibration (no GSO, OpenSSL): \(decimal(report.calibration.cpu, 0)) CPU, \
            \(decimal(report.calibration.wall, 0)) wall; crypto alone \(decimal(report.calibrationCrypto.cpu, 0)); \
            CPU each time: \(report.calibrationSamples.map { decimal($0, 0) }.joined(separator: ", "))


            """
        let columns = [
            ("cipher", -9), ("run", 4), ("crypto", 8), ("send CPU", 10), ("send wall", 11), ("/calib.", 9),
            ("delivered", 12), ("dropped", 10), ("waited", 8),
        ]
        out += columns.map { pad($0.0, $0.1) }.joined() + "\n"
        for f in report.figures {
            let cells = [
                f.cipher.name, "\(f.run)", decimal(f.crypto.cpu, 0), decimal(f.sending.cpu, 0),
                decimal(f.sending.wall, 0), decimal(f.sending.cpu / max(1, report.calibration.cpu), 3),
                "\(f.delivered)", "\(f.dropped)", decimal(f.waited * 100, 0) + " %",
            ]
            out += zip(cells, columns).map { pad($0, $1.1) }.joined() + "\n"
        }
        for cipher in report.unavailable { out += "\(cipher.name): not on this machine\n" }
        if report.calibrationDropped > 0 || report.figures.contains(where: { $0.dropped > 0 }) {
            out += """
                Dropped packets found a full receive buffer: the drain was too slow. The sender paid for them, but \
                a drop costs the kernel less than queueing, so those figures are slightly low.

                """
        }
        return out
    }

    func json(_ report: Report) -> String {
        let figures = report.figures.map { f in
            """
            {"cipher": "\(f.cipher.name)", "profile": "\(f.cipher.profile)", "run": \(f.run), \
            "crypto_cpu_ns": \(decimal(f.crypto.cpu, 1)), "crypto_wall_ns": \(decimal(f.crypto.wall, 1)), \
            "send_cpu_ns": \(decimal(f.sending.cpu, 1)), "send_wall_ns": \(decimal(f.sending.wall, 1)), \
            "of_calibration": \(decimal(f.sending.cpu / max(1, report.calibration.cpu), 4)), \
            "packets": \(f.packets), "audio_packets": \(f.audioPackets), "calls": \(f.calls), \
            "delivered": \(f.delivered), "dropped": \(f.dropped), "waited_share": \(decimal(f.waited, 3))}
            """
        }
        return """
            {
              "destinations": \(options.destinations), "packet_bytes": \(options.packetBytes), \
            "header_bytes": \(options.headerBytes), "audio_share": \(decimal(options.audio, 4)), \
            "audio_bytes": \(options.audioBytes), "batch": \(options.batch), \
            "seconds": \(decimal(options.seconds, 3)), "rounds": \(options.rounds), "cpu": \(options.cpu), \
            "drain_cpu": \(options.drainCPU), "ipsec_mb": "\(report.library)",
              "calibration": {"cpu_ns": \(decimal(report.calibration.cpu, 1)), \
            "wall_ns": \(decimal(report.calibration.wall, 1)), \
            "crypto_cpu_ns": \(decimal(report.calibrationCrypto.cpu, 1)), \
            "samples_cpu_ns": [\(report.calibrationSamples.map { decimal($0, 1) }.joined(separator: ", "))], \
            "dropped": \(report.calibrationDropped)},
              "unavailable": [\(report.unavailable.map { "\"\($0.name)\"" }.joined(separator: ", "))],
              "results": [
                \(figures.joined(separator: ",\n    "))
              ]
            }

            """
    }

    /// Fixed-point text; Foundation's formatting would be half of this program's start and build.
    private func decimal(_ value: Double, _ places: Int) -> String {
        var scale = 1
        for _ in 0..<places { scale *= 10 }
        let scaled = Int((abs(value) * Double(scale)).rounded())
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard places > 0 else { return "\(sign)\(scaled)" }
        let fraction = String(scaled % scale)
        return "\(sign)\(scaled / scale)." + String(repeating: "0", count: places - fraction.count) + fraction
    }

    /// Right-aligned to `width`, or left-aligned to `-width`.
    private func pad(_ text: String, _ width: Int) -> String {
        let space = String(repeating: " ", count: max(0, abs(width) - text.count))
        return width < 0 ? text + space : space + text
    }
}
