{#- What an export writes for "nothing". Salesforce has one null, so all of these become null.
    Padding needs no macro: sfsync trims text as Salesforce does. #}
{% macro blank(column) -%}
    case when lower(trim({{ column }})) in ('', '-', 'n/a') then null else trim({{ column }}) end
{%- endmacro %}

{#- "yes" and "no" in any spelling; anything else is null, and a null never touches a checkbox. #}
{% macro yes_no(column) -%}
    case lower(trim({{ column }})) when 'yes' then true when 'no' then false end
{%- endmacro %}

{#- Billing counts in cents, Salesforce in currency units. Decimal arithmetic, never floating point. #}
{% macro cents(column) -%}
    cast({{ column }} * 0.01 as decimal(16, 2))
{%- endmacro %}
