import HLS

/// A lower rendition as the configuration writes it: `720p`, `480p30` (at most 30 pictures per second), `480p:900k` (at most
/// 900 kbit/s), or `audio`.
package enum HLSProfile: Sendable, Equatable {
    /// The sound without the picture.
    case sound
    /// `text`: as it was written.
    case picture(LadderRung, text: String)

    /// In a configuration: a player has no use for more.
    static let most = 8
    private static let heights = 90...4_320
    private static let rates = 1...120
    private static let bitrates = 50_000...100_000_000
    private static let maxDigits = 9
    /// Bits per pixel of what is not told: for a picture of 16:9, 30 times a second.
    private static let bitsPerPixel = 0.09
    private static let step = 100_000.0

    package init?(_ text: String) {
        if text == "audio" {
            self = .sound
            return
        }
        let halves = text.split(separator: ":", omittingEmptySubsequences: false)
        guard (1...2).contains(halves.count) else { return nil }
        let numbers = halves[0].split(separator: "p", omittingEmptySubsequences: false)
        guard numbers.count == 2, let height = Self.number(numbers[0]), Self.heights.contains(height) else {
            return nil
        }
        var rung = LadderRung(name: String(halves[0]), height: height, bitrate: Self.bitrate(height: height))
        if !numbers[1].isEmpty {
            guard let rate = Self.number(numbers[1]), Self.rates.contains(rate) else { return nil }
            rung.framesPerSecond = rate
        }
        if halves.count == 2 {
            let unit = halves[1].last == "k" ? 1_000 : halves[1].last == "M" ? 1_000_000 : 0
            guard unit > 0, let count = Self.number(halves[1].dropLast()), Self.bitrates.contains(count * unit) else {
                return nil
            }
            rung.bitrate = count * unit
        }
        self = .picture(rung, text: text)
    }

    var text: String {
        switch self {
        case .sound: "audio"
        case .picture(_, let text): text
        }
    }

    private static func number(_ digits: some StringProtocol) -> Int? {
        guard (1...maxDigits).contains(digits.utf8.count), digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int(digits)
    }

    private static func bitrate(height: Int) -> Int {
        let pixels = Double(height * height) * 16 / 9 * 30
        return Int(max(1, (pixels * bitsPerPixel / step).rounded()) * step)
    }
}

extension ValueForm where Value == HLSProfile {
    static var hlsProfile: Self {
        let remedy = "give profiles such as 720p, 480p30 (pictures per second), 360p:500k (bits per second) or audio"
        return Self(
            read: { value throws(BadValue) in
                guard let profile = HLSProfile(try value.scalarText(remedy)) else {
                    throw BadValue("is no profile", remedy: remedy)
                }
                return profile
            }, write: { $0.text })
    }
}
