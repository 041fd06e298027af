{#- The billing system's codes in the words of the org's picklists. A restricted picklist takes nothing else;
    a code that is missing here comes out as null rather than as a wrong word. #}
{% macro plan_label(column) -%}
    case lower(trim({{ column }}))
        when 'starter' then 'Starter'
        when 'growth' then 'Growth'
        when 'enterprise' then 'Enterprise'
    end
{%- endmacro %}

{% macro status_label(column) -%}
    case lower(trim({{ column }}))
        when 'active' then 'Active'
        when 'trialing' then 'Trialing'
        when 'past_due' then 'Past_Due'
        when 'cancelled' then 'Cancelled'
    end
{%- endmacro %}
