import Wire

/// Text of playlists as bytes, built without Foundation and without strings in between.
package struct TextOutput: Sendable {
    package private(set) var bytes: [UInt8] = []

    package init(reserving count: Int = 0) { bytes.reserveCapacity(count) }

    package mutating func add(_ text: String) { bytes.append(contentsOf: text.utf8) }

    package mutating func add(_ number: some BinaryInteger) { add(String(number)) }

    /// A decimal-floating-point number of seconds (RFC 8216bis §4.2) with five digits behind the point, rounded.
    package mutating func addSeconds(_ interval: Interval) {
        let hundredThousandths = (max(0, interval.nanoseconds) &+ 5_000) / 10_000
        add(hundredThousandths / 100_000)
        bytes.append(UInt8(ascii: "."))
        addPadded(hundredThousandths % 100_000, digits: 5)
    }

    mutating func addPadded(_ number: Int64, digits: Int) {
        let text = String(number)
        for _ in 0..<max(0, digits - text.utf8.count) { bytes.append(UInt8(ascii: "0")) }
        add(text)
    }

    /// Date and time in UTC with milliseconds (ISO 8601), as `EXT-X-PROGRAM-DATE-TIME` needs it (§4.4.4.6).
    ///
    /// - Parameter nanoseconds: since 1970-01-01T00:00:00Z.
    package mutating func addDate(unixNanoseconds nanoseconds: Int64) {
        let milliseconds = nanoseconds.flooringDivision(by: 1_000_000)
        let days = milliseconds.flooringDivision(by: 86_400_000)
        let ofDay = milliseconds - days * 86_400_000
        // Civil date of a day number: years begin in March, so that leap days come last (proleptic Gregorian calendar).
        let shifted = days + 719_468
        let era = shifted.flooringDivision(by: 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        addPadded(year, digits: 4)
        add("-")
        addPadded(month, digits: 2)
        add("-")
        addPadded(day, digits: 2)
        add("T")
        addPadded(ofDay / 3_600_000, digits: 2)
        add(":")
        addPadded(ofDay / 60_000 % 60, digits: 2)
        add(":")
        addPadded(ofDay / 1_000 % 60, digits: 2)
        add(".")
        addPadded(ofDay % 1_000, digits: 3)
        add("Z")
    }
}

extension Int64 {
    /// Rounds towards minus infinity.
    func flooringDivision(by divisor: Int64) -> Int64 {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient - 1 : quotient
    }
}
