import ArgumentParser
import LoadGenerator

extension LoadPlanOptions.SignallingProtocol: ExpressibleByArgument {}
extension LoadPlanOptions.Video: ExpressibleByArgument {}
extension LoadPlanOptions.Protection: ExpressibleByArgument {}

/// One number of players, or several with commas between them.
struct PlayerCounts: ExpressibleByArgument {
    let counts: [Int]

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
        counts = parts.compactMap { Int($0.drop { $0 == " " }) }
        guard counts.count == parts.count else { return nil }
    }
}

/// Bit/s, with k or M behind it if one likes.
struct BitrateArgument: ExpressibleByArgument {
    let bitsPerSecond: Int

    init(_ bitsPerSecond: Int) { self.bitsPerSecond = bitsPerSecond }

    init?(argument: String) {
        let units: [Character: Double] = ["k": 1e3, "K": 1e3, "m": 1e6, "M": 1e6]
        let unit = argument.last.flatMap { units[$0] }
        guard let number = Double(unit == nil ? argument[...] : argument.dropLast()), number > 0 else { return nil }
        let value = number * (unit ?? 1)
        guard value < 1e12 else { return nil }
        bitsPerSecond = Int(value.rounded())
    }

    var defaultValueDescription: String {
        bitsPerSecond % 1_000_000 == 0 ? "\(bitsPerSecond / 1_000_000)M" : "\(bitsPerSecond / 1_000)k"
    }
}

/// A share: 0.01, or 1% which is the same.
struct ShareArgument: ExpressibleByArgument {
    let share: Double

    init(_ share: Double) { self.share = share }

    init?(argument: String) {
        let isPercent = argument.hasSuffix("%")
        guard let number = Double(isPercent ? argument.dropLast() : argument[...]), number.isFinite else { return nil }
        share = isPercent ? number / 100 : number
    }

    var defaultValueDescription: String { "\(share)" }
}

/// A picture's size: WIDTHxHEIGHT.
struct SizeArgument: ExpressibleByArgument {
    let width: Int
    let height: Int

    init(_ width: Int, _ height: Int) {
        self.width = width
        self.height = height
    }

    init?(argument: String) {
        let parts = argument.split(separator: "x", omittingEmptySubsequences: false)
        guard parts.count == 2, let width = Int(parts[0]), let height = Int(parts[1]) else { return nil }
        self.init(width, height)
    }

    var defaultValueDescription: String { "\(width)x\(height)" }
}
