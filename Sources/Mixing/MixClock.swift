import Foundation
import MediaFiles
import Wire

/// The one line of time on which the files of a mix lie.
package enum MixClock {
    /// Files further apart are not of one event.
    package static let longest = Interval.seconds(7 * 86_400)

    /// What is known of the beginning of a file.
    package struct File: Sendable, Equatable {
        package var path: String
        /// Milliseconds since 1970.
        package var startedAt: Int64?
        /// Asked for: seconds behind the beginning of the first file by the clock.
        package var offset: Double?

        package init(path: String, startedAt: Int64?, offset: Double? = nil) {
            self.path = path
            self.startedAt = startedAt
            self.offset = offset
        }
    }

    /// What must be added to the times of each file. One file alone needs no clock.
    package static func shifts(_ files: [File]) throws(MixError) -> [Interval] {
        let clocks = files.filter { $0.offset == nil }.compactMap(\.startedAt)
        let zero = clocks.min() ?? 0
        var shifts: [Interval] = []
        for file in files {
            if let offset = file.offset {
                guard offset.isFinite, abs(offset) <= Double(longest.milliseconds) / 1_000 else {
                    throw MixError(
                        .usage, "--offset of \(file.path): it is too long",
                        remedy: "give seconds, at most \(longest.milliseconds / 1_000)")
                }
                shifts.append(.nanoseconds(Int64((offset * 1e9).rounded())))
            } else if let startedAt = file.startedAt {
                let (behind, overflow) = startedAt.subtractingReportingOverflow(zero)
                guard !overflow, behind <= longest.milliseconds else {
                    throw MixError(
                        .badInput,
                        "\(file.path): it begins more than \(longest.milliseconds / 86_400_000) days behind another",
                        remedy: "say when by --offset \(file.path)=SECONDS")
                }
                shifts.append(.milliseconds(behind))
            } else if files.count == 1 {
                shifts.append(.zero)
            } else {
                throw MixError(
                    .badInput, "\(file.path): it does not say when it was begun",
                    remedy: "say it by --offset \(file.path)=SECONDS, counted from the first of the other files")
            }
        }
        return shifts
    }

    /// Nearest sample of a time.
    static func samples(_ time: Interval) -> Int64 {
        let rate = Int64(SoundEncoder.rate)
        let (seconds, rest) = time.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        return seconds * rate + (rest * rate + (rest < 0 ? -500_000_000 : 500_000_000)) / 1_000_000_000
    }
}
