import CLibAV

/// When a file was begun, as its metadata say.
package enum FileTime {
    /// Milliseconds since 1970. Recordings say it twice: `date` as text, since MP4's own creation time has whole seconds.
    static func startedAt(_ metadata: OpaquePointer?) -> Int64? {
        for key in ["date", "creation_time"] {
            guard let entry = av_dict_get(metadata, key, nil, 0), let value = entry.pointee.value else { continue }
            if let time = parse(String(cString: value)) { return time }
        }
        return nil
    }

    /// ISO 8601 in UTC with a time of day, as `2026-11-21T20:15:00.250000Z`; nil for whatever else, also a date alone.
    package static func parse(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes.count <= 40, bytes[4] == dash, bytes[7] == dash,
            bytes[10] == UInt8(ascii: "T") || bytes[10] == UInt8(ascii: " "), bytes[13] == colon, bytes[16] == colon,
            bytes.last == UInt8(ascii: "Z"), let year = number(bytes[0..<4]), let month = number(bytes[5..<7]),
            let day = number(bytes[8..<10]), let hour = number(bytes[11..<13]), let minute = number(bytes[14..<16]),
            let second = number(bytes[17..<19]), year >= 1970, (1...12).contains(month), (1...31).contains(day),
            hour < 24, minute < 60, second <= 60
        else { return nil }
        var millis: Int64 = 0
        if bytes.count > 20 {
            guard bytes[19] == UInt8(ascii: "."), number(bytes[20..<(bytes.count - 1)].prefix(9)) != nil else {
                return nil
            }
            let digits = bytes[20..<(bytes.count - 1)].prefix(3)
            millis = (number(digits) ?? 0) * [100, 10, 1][max(0, digits.count - 1)]
        }
        let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
        return seconds * 1_000 + millis
    }

    private static let dash = UInt8(ascii: "-")
    private static let colon = UInt8(ascii: ":")

    private static func number(_ digits: ArraySlice<UInt8>) -> Int64? {
        guard !digits.isEmpty else { return nil }
        var value: Int64 = 0
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            value = value * 10 + Int64(digit - UInt8(ascii: "0"))
        }
        return value
    }

    /// From 1970-01-01 to a day of the Gregorian calendar: years are counted from March, so that the leap day is their last.
    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}
