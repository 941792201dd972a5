import MediaFormats
import Mixing
import Testing
import Wire

@Suite struct ClockTests {
    @Test func filesLieWhereTheirClocksSay() throws {
        let shifts = try MixClock.shifts([
            .init(path: "b", startedAt: 1_700_000_002_250), .init(path: "a", startedAt: 1_700_000_000_000),
        ])
        #expect(shifts == [.milliseconds(2_250), .zero])
    }

    @Test func anOffsetTakesTheClocksPlace() throws {
        let shifts = try MixClock.shifts([
            .init(path: "a", startedAt: 1_700_000_000_000), .init(path: "b", startedAt: 99, offset: 1.5),
            .init(path: "c", startedAt: nil, offset: -0.25), .init(path: "d", startedAt: 1_700_000_001_000),
        ])
        #expect(shifts == [.zero, .milliseconds(1_500), .milliseconds(-250), .seconds(1)])
    }

    @Test func oneFileNeedsNoClock() throws {
        #expect(try MixClock.shifts([.init(path: "a", startedAt: nil)]) == [.zero])
    }

    @Test func whatCannotBePlacedIsNamedWithARemedy() throws {
        let cases: [[MixClock.File]] = [
            [.init(path: "a", startedAt: 1_700_000_000_000), .init(path: "bad one", startedAt: nil)],
            [.init(path: "a", startedAt: 1_700_000_000_000), .init(path: "bad one", startedAt: 1_800_000_000_000)],
            [.init(path: "a", startedAt: 0), .init(path: "bad one", startedAt: .max)],
            [.init(path: "a", startedAt: 0), .init(path: "bad one", startedAt: nil, offset: 1e12)],
            [.init(path: "a", startedAt: 0), .init(path: "bad one", startedAt: nil, offset: .nan)],
        ]
        for files in cases {
            let error = #expect(throws: MixError.self) { try MixClock.shifts(files) }
            #expect(error?.problem.contains("bad one") == true && error?.remedy.isEmpty == false)
        }
    }

    private func track(_ name: String, _ begin: Int64, _ end: Int64, file: Int = 0, number: Int = 0) -> MixTrack {
        MixTrack(
            path: "f\(file)", file: file, number: number, description: TrackDescription(codec: .vp8), name: name,
            begin: .seconds(begin), end: .seconds(end), shift: .zero)
    }

    @Test func theMixBeginsWithWhatIsFirstAndEndsWithWhatIsLast() throws {
        let plan = try MixPlan(
            [track("a", 5, 9), track("b", 1, 4, file: 1)], shifts: [.seconds(10), .seconds(12)])
        #expect(plan.length == .seconds(6))
        #expect(plan.tracks.map(\.name) == ["b", "a"])
        #expect(plan.tracks.map(\.begin) == [.zero, .seconds(2)])
        #expect(plan.tracks.map(\.shift) == [.seconds(-1), .seconds(-3)])
    }

    @Test func whoComesBackStandsWhereHeWas() throws {
        let plan = try MixPlan(
            [track("a", 0, 2, number: 0), track("b", 1, 9, number: 1), track("a", 5, 9, number: 2)], shifts: [.zero])
        #expect(plan.tracks.map(\.name) == ["a", "a", "b"])
        let later = plan.tracks.filter { $0.isOn(.seconds(6)) }.map(\.name)
        #expect(later == ["a", "b"])
    }

    @Test func aMixOfWeeksIsRefused() {
        let error = #expect(throws: MixError.self) {
            try MixPlan([track("a", 0, 800_000)], shifts: [.zero])
        }
        #expect(error?.problem.contains("f0") == true)
    }
}
