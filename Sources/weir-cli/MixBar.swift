import Foundation
import Mixing
import Wire

/// Tells on standard error how far a mix is: a bar on a terminal, else a line per ten percent. One thread.
final class MixBar {
    private static let cells = 30
    /// A terminal is written to so often at most.
    private static let interval = Duration.milliseconds(100)
    private static let step = 10

    private let isTerminal: Bool
    private let began = ContinuousClock.now
    private var shown: ContinuousClock.Instant?
    private var line = ""
    private var percent = -step

    init(isTerminal: Bool) { self.isTerminal = isTerminal }

    func show(_ progress: MixProgress) {
        let now = Int(progress.share * 100)
        if isTerminal {
            if let shown, ContinuousClock.now - shown < Self.interval, now < 100 { return }
            shown = .now
            let filled = min(Self.cells, Int(progress.share * Double(Self.cells)))
            let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: Self.cells - filled)
            let text = "[\(bar)] \(now) % \(detail(progress))"
            printError("\r" + text + String(repeating: " ", count: max(0, line.count - text.count)), end: "")
            line = text
        } else if now / Self.step > percent / Self.step || percent < 0 {
            percent = max(0, now)
            printError("\(now) %")
        }
    }

    func end() { if isTerminal, !line.isEmpty { printError("") } }

    private func detail(_ progress: MixProgress) -> String {
        switch progress.phase {
        case .reading: "reading"
        case .completing: "completing"
        case .mixing: "\(Self.clock(progress.done)) of \(Self.clock(progress.length)), \(rest(progress.share)) left"
        }
    }

    private func rest(_ share: Double) -> String {
        let spent = (ContinuousClock.now - began) / .seconds(1)
        guard share > 0.001 else { return "?" }
        return Self.clock(.milliseconds(Int64(min(spent * (1 - share) / share, 1e8) * 1_000)))
    }

    /// Minutes and seconds, and hours where there are some.
    static func clock(_ time: Interval) -> String {
        let seconds = time.milliseconds / 1_000
        func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let rest = "\(two(seconds / 60 % 60)):\(two(seconds % 60))"
        return seconds >= 3_600 ? "\(seconds / 3_600):\(rest)" : rest
    }
}
