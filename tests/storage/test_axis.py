"""Axes: what is one, when two are the same, and what happens to spectra in between."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_flows.spectra import load_tecator
from n4a_flows.storage.axis import Axis
from n4a_flows.storage.errors import AxisError, N4AError

NM = Axis(np.linspace(1100, 2500, 351))  # every 4 nm


@st.composite
def axes(draw):
    steps = draw(st.lists(st.floats(0.5, 50), min_size=1, max_size=30))
    rising = 400 + np.cumsum(steps)
    return Axis(rising if draw(st.booleans()) else rising[::-1], draw(st.sampled_from(["nm", "um", "cm-1"])))


class TestMaking:
    def test_values_are_float64_in_the_order_given(self):
        axis = Axis([1100, 1102, 1104])
        assert axis.values.dtype == np.float64
        assert axis.values.tolist() == [1100.0, 1102.0, 1104.0]
        assert axis.unit == "nm"
        assert len(axis) == 3
        assert Axis([9000.0, 8000.0], "cm-1").values.tolist() == [9000.0, 8000.0]

    def test_it_does_not_change_with_the_array_it_was_made_from(self):
        values = np.array([1.0, 2.0])
        axis = Axis(values)
        values[0] = 5.0
        assert axis.values[0] == 1.0

    def test_it_cannot_be_changed(self):
        axis = Axis([1.0, 2.0])
        with pytest.raises(ValueError, match="read-only"):
            axis.values[0] = 5.0
        with pytest.raises(AttributeError):
            axis.unit = "um"

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ([], "at least one value"),
            (1100.0, "row of at least one value"),
            ([[1.0, 2.0]], r"shape \(1, 2\)"),
            ([1.0, np.nan], "finite and positive"),
            ([1.0, np.inf], "finite and positive"),
            ([0.0, 1.0], "finite and positive"),
            ([-2.0, -1.0], "finite and positive"),
            ([1.0, 1.0], "rise or fall"),
            ([1.0, 3.0, 2.0], "rise or fall"),
            (["a", "b"], "must be numbers"),
            (None, "."),
        ],
    )
    def test_what_is_no_axis_is_refused(self, values, message):
        with pytest.raises(AxisError, match=message):
            Axis(values)

    @pytest.mark.parametrize("unit", ["", "NM", "µm", "cm", None])
    def test_an_unknown_unit_is_refused_and_the_known_ones_named(self, unit):
        with pytest.raises(AxisError, match="use one of nm, cm-1, um"):
            Axis([1.0, 2.0], unit)
        with pytest.raises(AxisError, match="use one of nm, cm-1, um"):
            NM.to(unit)

    def test_the_error_is_a_value_error_and_ours(self):
        assert issubclass(AxisError, ValueError)
        assert issubclass(AxisError, N4AError)


class TestComparing:
    def test_equal_means_the_same_values_and_unit(self):
        assert Axis([1.0, 2.0]) == Axis([1.0, 2.0])
        assert hash(Axis([1.0, 2.0])) == hash(Axis([1.0, 2.0]))
        assert Axis([1.0, 2.0]) != Axis([1.0, 2.0], "um")
        assert Axis([1.0, 2.0]) != Axis([1.0, 2.0 + 1e-12])
        assert Axis([1.0, 2.0]) != Axis([1.0, 2.0, 3.0])
        assert Axis([1.0, 2.0]) != [1.0, 2.0]

    def test_it_reads_as_people_say_it(self):
        assert str(NM) == "351 points, 1100 to 2500 nm"
        assert str(Axis([1700.0])) == "1 point, 1700 to 1700 nm"
        assert repr(NM) == "Axis(351 points, 1100 to 2500 nm)"


class TestKeeping:
    @given(axes())
    def test_it_comes_back_from_json_bit_by_bit(self, axis):
        assert Axis.from_dict(json.loads(json.dumps(axis.to_dict()))) == axis

    @given(axes())
    def test_it_comes_back_from_a_pickle_and_is_still_fixed(self, axis):
        copy = pickle.loads(pickle.dumps(axis))  # noqa: S301 - our own bytes
        assert copy == axis
        assert not copy.values.flags.writeable

    def test_the_document_holds_the_unit_and_the_values(self):
        assert Axis([1.0, 2.5], "um").to_dict() == {"unit": "um", "values": [1.0, 2.5]}


class TestConverting:
    def test_known_values(self):
        assert Axis([1000.0, 2500.0]).to("cm-1").values.tolist() == [10000.0, 4000.0]
        assert Axis([1000.0, 2500.0]).to("um").values.tolist() == [1.0, 2.5]
        assert Axis([10000.0, 4000.0], "cm-1").to("um").values == pytest.approx([1.0, 2.5])
        assert Axis([1.0, 2.5], "um").to("cm-1").values == pytest.approx([10000.0, 4000.0])
        assert Axis([1000.0, 2500.0]).to("cm-1").unit == "cm-1"

    def test_the_same_unit_changes_nothing(self):
        assert NM.to("nm") == NM

    @given(axes(), st.sampled_from(["nm", "um", "cm-1"]))
    def test_there_and_back_is_the_same_axis(self, axis, unit):
        back = axis.to(unit).to(axis.unit)
        np.testing.assert_allclose(back.values, axis.values, rtol=1e-14)
        assert back.columns_for(axis) is None


class TestColumnsFor:
    @given(axes())
    def test_an_axis_fits_itself_as_it_is(self, axis):
        assert axis.columns_for(axis) is None

    @given(axes(), st.sampled_from(["nm", "um", "cm-1"]))
    def test_units_are_converted_and_order_is_turned_round(self, axis, unit):
        other = axis.to(unit)
        assert other.columns_for(axis) is None
        turned = Axis(other.values[::-1], unit)
        columns = turned.columns_for(axis)
        if len(axis) == 1:
            assert columns is None
        else:
            np.testing.assert_allclose(turned.to(axis.unit).values[columns], axis.values, rtol=1e-14)

    def test_real_spectra_in_wavenumbers_become_those_in_nanometres(self):
        spectra = load_tecator()
        wavenumbers = Axis(np.round(1e7 / spectra.axis.values[::-1], 1), "cm-1")
        columns = wavenumbers.columns_for(spectra.axis)
        np.testing.assert_array_equal(spectra.X[:, ::-1][:, columns], spectra.X)

    @pytest.mark.parametrize("shift", [0.01, 0.1, -0.19])
    def test_the_rounding_of_printed_wavelengths_is_let_pass(self, shift):
        assert Axis(NM.values + shift).columns_for(NM) is None

    @pytest.mark.parametrize("shift", [0.25, -0.5, 1.0, 2.0, 4.0])
    def test_a_shift_that_costs_accuracy_is_refused(self, shift):
        with pytest.raises(AxisError, match=rf"largest difference {abs(shift):.3g} nm"):
            Axis(NM.values + shift).columns_for(NM)
        with pytest.raises(AxisError, match=rf"largest difference {abs(shift):.3g} nm"):
            Axis((NM.values + shift)[::-1]).columns_for(NM)

    def test_a_single_point_that_is_off_is_refused(self):
        values = NM.values.copy()
        values[200] += 0.5
        with pytest.raises(AxisError, match=r"largest difference 0\.5 nm"):
            Axis(values).columns_for(NM)

    def test_the_spacing_at_the_point_counts(self):
        uneven = Axis([1000.0, 1001.0, 1002.0, 1040.0, 1080.0])
        assert Axis([1000.0, 1001.0, 1002.0, 1040.0, 1081.9]).columns_for(uneven) is None
        for values in ([1000.0, 1001.1, 1002.0, 1040.0, 1080.0], [1000.0, 1001.0, 1002.5, 1040.0, 1080.0]):
            with pytest.raises(AxisError):
                Axis(values).columns_for(uneven)

    @pytest.mark.parametrize(
        "other",
        [Axis(NM.values[:-1]), Axis(np.linspace(1100, 2500, 701)), Axis([1700.0]), Axis(NM.values, "cm-1")],
        ids=["one point fewer", "every 2 nm", "one point", "another unit"],
    )
    def test_other_points_are_refused_and_both_axes_named(self, other):
        with pytest.raises(AxisError) as caught:
            other.columns_for(NM)
        assert str(other) in str(caught.value)
        assert str(NM) in str(caught.value)
