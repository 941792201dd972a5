import ControlPlane
import HTTPServer
import Synchronization
import TestSupport
import Testing
import Weir

@Suite struct LoadMeterTests {
    private struct Machine: Sendable {
        var packets: UInt64 = 1_000
        var processor = Duration.seconds(5)
    }

    @Test func loadIsWhatChangedInASecond() async throws {
        let clock = ManualClock()
        let machine = Watched(Machine())
        let told = Watched<[MachineLoad]>([])
        let meter = LoadMeter(
            packetsSent: { machine.value.packets }, processorTime: { machine.value.processor }, cores: 2)
        let running = Task { await meter.run(clock) { load in told.update { $0.append(load) } } }
        try await clock.sleeper(until: .seconds(1))
        machine.update { $0 = Machine(packets: 4_000, processor: .milliseconds(6_500)) }
        clock.advance(by: .seconds(1))
        try await clock.sleeper(until: .seconds(2))
        // Woken late: two seconds for what would be the load of one.
        machine.update { $0.packets = 5_000 }
        clock.advance(by: .seconds(2))
        try await told.wait { $0.count == 2 }
        #expect(
            told.value == [MachineLoad(packetRate: 3_000, cpu: 75), MachineLoad(packetRate: 500, cpu: 0)])
        running.cancel()
        await running.value
    }

    @Test func theProcessTellsItsThreadsAndMemory() {
        let figures = ProcessFigures.read(since: .now - .seconds(3))
        #expect(figures.threads >= 1)
        #expect((1 << 20..<1 << 40).contains(figures.residentMemory))
        #expect(figures.uptime >= .seconds(3))
        #expect(LoadMeter.processorTime() > .zero)
    }
}
